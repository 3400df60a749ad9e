/** Volumes as docker's `-v` and `--tmpfs` write them. */

import type { Volume } from "./bundle.ts";
import { TripodError } from "./errors.ts";
import { type SandboxPath, hostPath, sandboxPath } from "./paths.ts";

const refuse = (text: string, why: string, hint: string): TripodError =>
  new TripodError("usage", `-v ${text.slice(0, 200)}: ${why}`, { hint });

/** A clean absolute path of the container; a closing slash is forgiven. */
function target(path: string, text: string): SandboxPath {
  try {
    return sandboxPath(path.length > 1 ? path.replace(/\/$/, "") : path);
  } catch {
    throw refuse(text, `${JSON.stringify(path)} is not a clean absolute path`, "-v /host/dir:/dir");
  }
}

/**
 * `SOURCE:TARGET[:ro|rw]`, both absolute. A relative source is taken from `cwd` when it begins with `.`. Named volumes are not kept by Tripod. Throws
 * `usage`.
 */
export function parseVolume(text: string, cwd: string): Volume {
  const [source = "", at, options, ...rest] = text.split(":");
  if (at === undefined || source === "" || rest.length > 0)
    throw refuse(text, "it is not SOURCE:TARGET[:ro]", "-v /host/dir:/dir:ro");
  if (text.includes("\0")) throw refuse(text, "it holds a NUL", "-v /host/dir:/dir");
  const relative = source === "." || source === ".." || source.startsWith("./") || source.startsWith("../");
  if (!source.startsWith("/") && !relative)
    throw refuse(text, "named volumes are not supported", `-v /some/dir/${source}:${at}`);
  const words = options === undefined ? [] : options.split(",");
  const unknown = words.find((word) => word !== "ro" && word !== "rw");
  if (unknown !== undefined || words.length > 1)
    throw refuse(text, `${JSON.stringify(options)} is not ro or rw`, `-v ${source}:${at}:ro`);
  return {
    source: hostPath(relative ? resolve(cwd, source) : source),
    target: target(at, text),
    readonly: words[0] === "ro",
  };
}

/** Joins and normalises without looking at the disk. */
function resolve(cwd: string, path: string): string {
  const parts: string[] = [];
  for (const part of `${cwd}/${path}`.split("/"))
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  return `/${parts.join("/")}`;
}

/** `TARGET[:OPTIONS]`, options as tmpfs(5) has them. */
export function parseTmpfs(text: string): {
  readonly target: SandboxPath;
  readonly options: readonly string[];
} {
  const at = text.indexOf(":");
  const options = at < 0 ? [] : text.slice(at + 1).split(",");
  const wrong = options.find(
    (word) => !/^(?:size|mode|nr_inodes|uid|gid)=[0-9]{1,16}[kmgKMG%]?$|^(?:ro|rw|exec|noexec)$/.test(word),
  );
  if (wrong !== undefined)
    throw refuse(text, `${JSON.stringify(wrong)} is no option of a tmpfs`, "--tmpfs /tmp:size=64m");
  return { target: target(at < 0 ? text : text.slice(0, at), text), options };
}
