/** The OCI runtime that holds a container, for the verbs that are its own: found where it is now, and asked. */

import { spawn } from "node:child_process";
import { access, constants, readFile, rm } from "node:fs/promises";
import { constants as system } from "node:os";
import { join } from "node:path";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { MonitorKind, OciRuntimeKind } from "../spec/values.ts";
import type { SandboxView } from "./store.ts";

/** The same directories as the warden's, so that both speak of one program. */
const dirs = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];

/** The path of runc or crun. Throws `monitor-missing`. */
async function ociRuntimePath(kind: MonitorKind | OciRuntimeKind): Promise<HostPath> {
  for (const dir of dirs) {
    const path = `${dir}/${kind}`;
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return hostPath(path);
  }
  throw new TripodError("monitor-missing", `${kind} is no longer in ${dirs.join(", ")}`, {
    hint: `apt-get install ${kind}`,
  });
}

/** Throws `exec-refused` for what is no container, naming what was asked, and `sandbox-busy` for one that does not run. */
export function requireContainer({ file, status }: SandboxView, cannot: string): void {
  if (file.mode !== "container")
    throw new TripodError("exec-refused", `${file.name} is a ${file.mode}: ${cannot}`, {
      hint: `tripod logs ${file.name}, or run the image with --mode container`,
    });
  if (status !== "running" && status !== "paused")
    throw new TripodError("sandbox-busy", `${file.name} is ${status}, not running`, {
      hint: `tripod logs ${file.name} shows what it said; tripod run starts another`,
    });
}

const ignore = (): void => {};

/**
 * Runs one verb of the container's runtime (`words` after the verb) with our own standard streams; returns its exit status, 128 + signal when it was
 * killed. Throws `monitor-missing`, and what the runtime itself failed at: `program-not-found`, `start-failed`.
 */
export async function askRuntime(
  view: SandboxView,
  verb: string,
  words: readonly string[],
  options: { readonly interactive?: boolean } = {},
): Promise<number> {
  const runtime = await ociRuntimePath(view.file.monitor);
  // Its own log tells the runtime's failures apart from the program's, whose statuses they share.
  const log = join(view.dir, `.${verb}.${process.pid}.log`);
  try {
    const argv = ["--root", join(view.dir, "oci"), "--log", log, "--log-format", "json", verb, ...words];
    const status = await spawnRuntime(runtime, argv, options);
    const failure = status === 0 ? undefined : lastError(await readFile(log, "utf8").catch(() => ""));
    if (failure !== undefined) throw refusal(`${verb} in ${view.file.name}: ${failure}`);
    return status;
  } finally {
    await rm(log, { force: true });
  }
}

/** The last error of a runtime's log, one JSON object a line. */
function lastError(log: string): string | undefined {
  for (const line of log.trimEnd().split("\n").toReversed())
    try {
      const record: unknown = JSON.parse(line);
      if (typeof record !== "object" || record === null || !("msg" in record)) continue;
      if (!("level" in record) || record.level === "error") return String(record.msg);
    } catch {
      // Not a line of a log.
    }
  return undefined;
}

/** Runtimes tell only in words what they failed at. */
function refusal(message: string): TripodError {
  const isAboutProgram = /exec: |executable file/.test(message);
  if (isAboutProgram && /no such file|not found in \$PATH/i.test(message))
    return new TripodError("program-not-found", message, { hint: "name a program that the container has" });
  return new TripodError("start-failed", message, {
    hint: "look at what was asked for: the program, its working directory and user, or the new limit",
  });
}

async function spawnRuntime(
  runtime: HostPath,
  argv: readonly string[],
  options: { readonly interactive?: boolean },
): Promise<number> {
  const child = spawn(runtime, argv, {
    stdio: [options.interactive === true ? "inherit" : "ignore", "inherit", "inherit"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  // The terminal's signals reach the runtime by themselves: it shares our process group.
  process.on("SIGINT", ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (cause) =>
        reject(new TripodError("monitor-missing", `${runtime} could not be started`, { cause })),
      );
      child.once("close", (code, signal) =>
        resolve(code ?? 128 + (signal === null ? 0 : system.signals[signal])),
      );
    });
  } finally {
    process.off("SIGINT", ignore);
  }
}
