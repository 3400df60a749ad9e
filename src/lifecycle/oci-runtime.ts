/** The OCI runtime that holds a container, for the verbs that are its own: found where it is now, and asked. */

import { spawn } from "node:child_process";
import { access, constants } from "node:fs/promises";
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
 * killed. Throws `monitor-missing`.
 */
export async function askRuntime(
  { file, dir }: SandboxView,
  verb: string,
  words: readonly string[],
  options: { readonly interactive?: boolean } = {},
): Promise<number> {
  const runtime = await ociRuntimePath(file.monitor);
  const child = spawn(runtime, ["--root", join(dir, "oci"), verb, ...words], {
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
