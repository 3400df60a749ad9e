/** Whether runc and crun work here: by creating, running and deleting a container with each, not by asking for their version. */

import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { HostPath } from "../../spec/paths.ts";
import type { Arch, Found, OciRuntimeKind } from "../../spec/values.ts";
import { TripodError } from "../../spec/errors.ts";
import { runProgram } from "../process.ts";
import type { ProbeInput } from "./fact.ts";
import { probeProgram, probeStatus } from "./probe-program.ts";
import { programVersion } from "./programs.ts";
import { withScratch } from "./scratch.ts";

/** Milliseconds for the container's whole life. */
const deadlineMs = 15_000;

/** Probes one runtime. `missing` tells why it does not count, in the runtime's own words where it has any. */
export async function probeOciRuntime(
  input: ProbeInput,
  kind: OciRuntimeKind,
  path: HostPath,
  arch: Arch,
): Promise<Found> {
  const found = await programVersion(path);
  if ("missing" in found) return found;
  try {
    const trouble = await withScratch(input.roots.run, (dir) => runProbeContainer(kind, path, arch, dir));
    return trouble === undefined
      ? found
      : { missing: `${path} ${found.version} cannot run a container here: ${trouble}` };
  } catch (error) {
    if (error instanceof TripodError) return { missing: error.message };
    throw error;
  }
}

/** Returns what went wrong, or undefined. */
async function runProbeContainer(
  kind: OciRuntimeKind,
  path: HostPath,
  arch: Arch,
  dir: HostPath,
): Promise<string | undefined> {
  const id = `tripod-probe-${process.pid}-${randomBytes(4).toString("hex")}`;
  const root = ["--root", join(dir, "state")];
  const rootfs = join(dir, "bundle", "rootfs");
  mkdirSync(rootfs, { recursive: true });
  for (const name of ["proc", "dev"]) mkdirSync(join(rootfs, name));
  writeFileSync(join(rootfs, "probe"), probeProgram(arch), { mode: 0o755 });
  writeFileSync(join(dir, "bundle", "config.json"), JSON.stringify(probeBundle(id)));
  try {
    const result = await runProgram(path, [...root, "run", "--bundle", join(dir, "bundle"), id], {
      deadlineMs,
    });
    if (result.code === probeStatus) return undefined;
    return lastWords(result.stderr) || `${kind} ended with ${result.code}, not the program's ${probeStatus}`;
  } finally {
    // `run` deletes what ended by itself; after a failure or a deadline this takes processes, mounts and cgroups away. Idempotent.
    await runProgram(path, [...root, "delete", "--force", id], { deadlineMs }).catch(() => {});
  }
}

/** Runtimes tell the cause last; colours and their own prefixes go. */
function lastWords(stderr: string): string {
  const line = stderr.trim().split("\n").at(-1) ?? "";
  const said = /msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line;
  return said.replace(/^.*?Z: /, "").slice(0, 400);
}

/** What container mode asks of a runtime: all namespaces, a cgroup with limits, /proc and /dev, a seccomp filter, no privileges. */
function probeBundle(id: string): object {
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 65534, gid: 65534 },
      args: ["/probe"],
      env: ["PATH=/"],
      cwd: "/",
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "probe",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=64k"] },
    ],
    linux: {
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
      // At the top, so that no directory of ours is left in the hierarchy when the container's own is gone.
      cgroupsPath: `/${id}`,
      resources: { memory: { limit: 64 << 20 }, pids: { limit: 16 } },
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["kexec_load"], action: "SCMP_ACT_ERRNO" }],
      },
    },
  };
}
