/**
 * Finds a file in stacked layers as the kernel's overlayfs would, without mounting: whiteouts and opaque directories hide what is below,
 * symbolic links are followed inside the stack only. Layers are immutable and ours, so what was looked at cannot change underneath.
 */

import { type Stats, existsSync, lstatSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../spec/errors.ts";
import { type HostPath, type UntrustedPath, hostPath } from "../spec/paths.ts";

const maxLinks = 40;
const maxParts = 4096;

/** One merged directory: the real directories that make it up, topmost first, and its path for the lists of opaque directories. */
interface Merged {
  readonly dirs: readonly { readonly at: string; readonly layer: Layer }[];
  readonly path: readonly string[];
}

interface Layer {
  readonly root: HostPath;
  readonly opaque: ReadonlySet<string>;
}

type Entry = { readonly directory: Merged } | { readonly file: string; readonly stat: Stats };

/**
 * The regular file at `path` of the stack `lowers` (topmost first), by its place on the host. Undefined when nothing is there, when it is
 * not a regular file, or when more than 40 links lead on.
 */
export function findFile(lowers: readonly HostPath[], path: UntrustedPath): HostPath | undefined {
  const layers = lowers.map((root) => ({ root, opaque: opaqueOf(root) }));
  const root: Merged = { dirs: layers.map((layer) => ({ at: layer.root, layer })), path: [] };
  if (path.includes("\0")) return undefined;
  const parts = path.split("/").toReversed();
  const stack = [root];
  let links = 0;
  while (parts.length > 0) {
    if (parts.length > maxParts) return undefined;
    const part = parts.pop() ?? "";
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const entry = lookUp(stack.at(-1) ?? root, part);
    if (entry === undefined) return undefined;
    if ("directory" in entry) {
      stack.push(entry.directory);
      continue;
    }
    if (entry.stat.isSymbolicLink()) {
      if (++links > maxLinks) return undefined;
      const target = readlinkSync(entry.file);
      if (target.startsWith("/")) stack.length = 1;
      parts.push(...target.split("/").toReversed());
      continue;
    }
    return entry.stat.isFile() && parts.length === 0 ? hostPath(entry.file) : undefined;
  }
  return undefined;
}

function lookUp(directory: Merged, name: string): Entry | undefined {
  const path = [...directory.path, name];
  const found: { at: string; layer: Layer }[] = [];
  for (const { at: parent, layer } of directory.dirs) {
    const at = join(parent, name);
    const stat = look(at);
    if (stat === undefined) continue;
    if (isWhiteout(stat)) break;
    if (!stat.isDirectory()) {
      // Below a directory a file is hidden by it.
      if (found.length > 0) break;
      return { file: at, stat };
    }
    found.push({ at, layer });
    if (layer.opaque.has(path.join("/"))) break;
  }
  return found.length === 0 ? undefined : { directory: { dirs: found, path } };
}

function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === "ENAMETOOLONG" || errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

const isWhiteout = (stat: Stats): boolean => stat.isCharacterDevice() && stat.rdev === 0;

/** Node cannot read extended attributes, so the unpacking left a list beside the layer; none: the layer has no opaque directory. */
function opaqueOf(layer: HostPath): ReadonlySet<string> {
  const list = `${layer}.json`;
  if (!existsSync(list)) return new Set();
  const value: unknown = JSON.parse(readFileSync(list, "utf8"));
  if (typeof value !== "object" || value === null || !("opaque" in value) || !Array.isArray(value.opaque))
    return new Set();
  return new Set(value.opaque.filter((dir): dir is string => typeof dir === "string"));
}
