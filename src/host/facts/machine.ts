/** Facts that cost next to nothing: read anew each time, and part of what tells whether a cache still holds. */

import { readFileSync, statSync, statfsSync } from "node:fs";
import { arch, availableParallelism, release, totalmem } from "node:os";
import { TripodError } from "../../spec/errors.ts";
import type { Arch, Facts } from "../../spec/values.ts";

export type Cgroups = Facts["cgroups"];

export interface MachineFacts {
  readonly arch: Arch;
  readonly kernelRelease: string;
  readonly memoryBytes: number;
  readonly cpus: number;
  readonly cgroups: Cgroups;
}

/** Throws `setup-missing` on an architecture that Tripod does not know. */
export function machineFacts(): MachineFacts {
  return {
    arch: ourArch(),
    kernelRelease: release(),
    memoryBytes: totalmem(),
    cpus: availableParallelism(),
    cgroups: cgroupsAt("/sys/fs/cgroup"),
  };
}

function ourArch(): Arch {
  const name = arch();
  if (name === "x64") return "amd64";
  if (name === "arm64") return "arm64";
  throw new TripodError("setup-missing", `Tripod does not run on the architecture ${name}`, {
    hint: "use an x86-64 or an aarch64 machine",
  });
}

/** From statfs(2): CGROUP2_SUPER_MAGIC and CGROUP_SUPER_MAGIC. */
const cgroup2Magic = 0x63677270;
const cgroup1Magic = 0x27e0eb;

/**
 * `v2`: the unified hierarchy alone; `hybrid`: version 1 controllers with a unified tree beside them; `v1`: controllers alone. Told by the
 * file systems' magic numbers, as systemd and runc do, not by names.
 */
export function cgroupsAt(root: string): Cgroups {
  const magic = magicOf(root);
  if (magic === cgroup2Magic) return "v2";
  const v1 = ["memory", "cpu", "cpu,cpuacct", "pids"].some(
    (name) => magicOf(`${root}/${name}`) === cgroup1Magic,
  );
  if (!v1) return "none";
  return magicOf(`${root}/unified`) === cgroup2Magic ? "hybrid" : "v1";
}

function magicOf(path: string): number | undefined {
  // statfs has no quiet form: absence would cost an exception.
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  try {
    return statfsSync(path).type;
  } catch {
    return undefined;
  }
}

/** The kernel's random id of this boot. */
export const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
