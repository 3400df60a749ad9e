/** What a sandbox uses, read from its cgroup: the one that its first process is in, on whichever hierarchy has the figure. */

import { readFile } from "node:fs/promises";
import { errnoOf } from "../spec/errors.ts";

export interface Usage {
  /** Bytes of memory in use, the page cache that can be dropped at once left out. */
  readonly memoryBytes: number;
  /** Undefined: no limit. */
  readonly memoryLimitBytes: number | undefined;
  /** Nanoseconds of processor time since the start. */
  readonly cpuNs: number;
  readonly processes: number;
}

/** Clock ticks a second in /proc/PID/stat: fixed in Linux's interface to programs (USER_HZ). */
const ticksPerSecond = 100;
/** A limit of this size and above is the kernel's way to say none, bytes. */
const noLimit = 2 ** 60;

/** Undefined when the process is gone. `id` tells the sandbox's own cgroups from ones that it shares with others. */
export async function sandboxUsage(pid: number, id: string): Promise<Usage | undefined> {
  const membership = await readText(`/proc/${pid}/cgroup`);
  if (membership === undefined) return undefined;
  const groups = ownCgroups(membership, id);
  const pids = await processesIn(groups, pid);
  const cpuNs = (await cgroupCpu(groups)) ?? (await sum(pids, processCpuNs));
  const memory = (await cgroupMemory(groups)) ?? {
    memoryBytes: await sum(pids, processMemory),
    memoryLimitBytes: undefined,
  };
  return { ...memory, cpuNs, processes: pids.length };
}

/** Directories of the sandbox's cgroups by controller; the unified hierarchy is called `unified`. */
export type OwnCgroups = ReadonlyMap<string, string>;

/**
 * From /proc/PID/cgroup, those paths that have the sandbox's id in them, cut after it: a container's runtime may have made cgroups
 * below. A hierarchy where the sandbox has no cgroup of its own would tell the figures of the whole machine.
 */
export function ownCgroups(membership: string, id: string, root: string = "/sys/fs/cgroup"): OwnCgroups {
  const found = new Map<string, string>();
  for (const line of membership.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const parts = path.split("/");
    const at = parts.findIndex((part) => part.includes(id));
    if (at < 0 || parts.includes("..")) continue;
    const own = parts.slice(0, at + 1).join("/");
    if (controllers === "") found.set("unified", own);
    else
      for (const controller of controllers.split(",")) found.set(controller, `${root}/${controllers}${own}`);
  }
  const unified = found.get("unified");
  // Alone it is the root itself, beside version 1 a directory in it.
  if (unified !== undefined)
    found.set("unified", found.size === 1 ? `${root}${unified}` : `${root}/unified${unified}`);
  return found;
}

async function cgroupMemory(
  groups: OwnCgroups,
): Promise<Pick<Usage, "memoryBytes" | "memoryLimitBytes"> | undefined> {
  const v1 = groups.get("memory");
  const v2 = groups.get("unified");
  const files =
    v1 !== undefined
      ? {
          used: `${v1}/memory.usage_in_bytes`,
          limit: `${v1}/memory.limit_in_bytes`,
          stat: `${v1}/memory.stat`,
          cache: "total_inactive_file",
        }
      : v2 !== undefined
        ? {
            used: `${v2}/memory.current`,
            limit: `${v2}/memory.max`,
            stat: `${v2}/memory.stat`,
            cache: "inactive_file",
          }
        : undefined;
  if (files === undefined) return undefined;
  const used = await readNumber(files.used);
  if (used === undefined) return undefined;
  const cache = figure(await readText(files.stat), files.cache) ?? 0;
  const limit = await readNumber(files.limit);
  return {
    memoryBytes: Math.max(0, used - cache),
    memoryLimitBytes: limit === undefined || limit >= noLimit ? undefined : limit,
  };
}

async function cgroupCpu(groups: OwnCgroups): Promise<number | undefined> {
  const v1 = groups.get("cpuacct");
  if (v1 !== undefined) return readNumber(`${v1}/cpuacct.usage`);
  const v2 = groups.get("unified");
  const us = v2 === undefined ? undefined : figure(await readText(`${v2}/cpu.stat`), "usage_usec");
  return us === undefined ? undefined : us * 1000;
}

async function processesIn(groups: OwnCgroups, first: number): Promise<readonly number[]> {
  for (const controller of ["pids", "freezer", "memory", "unified"]) {
    const dir = groups.get(controller);
    const text = dir === undefined ? undefined : await readText(`${dir}/cgroup.procs`);
    const pids = (text ?? "")
      .split("\n")
      .filter((line) => /^\d+$/.test(line))
      .map(Number);
    if (pids.length > 0) return pids;
  }
  return [first];
}

async function sum(pids: readonly number[], figureOf: (pid: number) => Promise<number>): Promise<number> {
  const figures = await Promise.all(pids.map(figureOf));
  return figures.reduce((total, next) => total + next, 0);
}

/** Fields 14 and 15 of /proc/PID/stat. */
async function processCpuNs(pid: number): Promise<number> {
  const stat = (await readText(`/proc/${pid}/stat`)) ?? "";
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  return Number.isFinite(ticks) ? (ticks * 1e9) / ticksPerSecond : 0;
}

async function processMemory(pid: number): Promise<number> {
  const kib = /^Pss:\s+(\d+) kB$/m.exec((await readText(`/proc/${pid}/smaps_rollup`)) ?? "")?.[1];
  return Number(kib ?? 0) * 1024;
}

/** `name 123` on a line of its own. */
const figure = (text: string | undefined, name: string): number | undefined => {
  const line = text?.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  const value = line === undefined ? Number.NaN : Number(line.slice(name.length + 1));
  return Number.isFinite(value) ? value : undefined;
};

async function readNumber(path: string): Promise<number | undefined> {
  const text = (await readText(path))?.trim();
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Undefined when the process or cgroup is gone. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ESRCH" || code === "ENODEV" || code === "EACCES") return undefined;
    throw error;
  }
}
