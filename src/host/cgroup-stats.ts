/** The statistics of a cgroup in the form of runc's `events --stats`, which engines decode. What the hierarchy does not tell is left out. */

import { readFileSync } from "node:fs";
import type { OwnCgroups } from "./usage.ts";

type Figures = Readonly<Record<string, number>>;

interface MemoryEntry {
  readonly limit: number;
  readonly usage?: number;
  readonly max?: number;
  readonly failcnt: number;
}

export interface CgroupStats {
  readonly cpu: {
    readonly usage: {
      readonly total: number;
      readonly percpu?: readonly number[];
      readonly kernel: number;
      readonly user: number;
    };
    readonly throttling: {
      readonly periods?: number;
      readonly throttledPeriods?: number;
      readonly throttledTime?: number;
    };
  };
  readonly memory: {
    readonly cache?: number;
    readonly usage: MemoryEntry;
    readonly swap: MemoryEntry;
    readonly kernel: MemoryEntry;
    readonly kernelTCP: MemoryEntry;
    readonly raw: Figures;
  };
  readonly pids: { readonly current?: number; readonly limit?: number };
  readonly blkio: Readonly<Record<string, never>>;
  readonly hugetlb: Readonly<Record<string, never>>;
  readonly intel_rdt: Readonly<Record<string, never>>;
  readonly network_interfaces: null;
}

/** How the kernel of version 1 writes that there is no limit, rounded to pages. */
const noLimit = 9_223_372_036_854_771_712;

/** Nanoseconds in a clock tick of `cpuacct.stat` (USER_HZ is 100). */
const tickNs = 10_000_000;

export function cgroupStats(groups: OwnCgroups): CgroupStats {
  return {
    cpu: cpuOf(groups),
    memory: memoryOf(groups),
    pids: pidsOf(groups.get("pids") ?? groups.get("unified")),
    blkio: {},
    hugetlb: {},
    intel_rdt: {},
    network_interfaces: null,
  };
}

function cpuOf(groups: OwnCgroups): CgroupStats["cpu"] {
  const accounting = groups.get("cpuacct");
  if (accounting !== undefined) {
    const stat = figuresOf(`${accounting}/cpuacct.stat`);
    const throttling = figuresOf(`${groups.get("cpu") ?? accounting}/cpu.stat`);
    return {
      usage: {
        total: numberOf(`${accounting}/cpuacct.usage`) ?? 0,
        percpu: (textOf(`${accounting}/cpuacct.usage_percpu`) ?? "").split(/\s+/).filter(Boolean).map(Number),
        kernel: (stat["system"] ?? 0) * tickNs,
        user: (stat["user"] ?? 0) * tickNs,
      },
      throttling: throttlingOf(throttling, throttling["throttled_time"] ?? 0),
    };
  }
  const stat = figuresOf(`${groups.get("unified") ?? "-"}/cpu.stat`);
  return {
    usage: {
      total: (stat["usage_usec"] ?? 0) * 1000,
      kernel: (stat["system_usec"] ?? 0) * 1000,
      user: (stat["user_usec"] ?? 0) * 1000,
    },
    throttling: throttlingOf(stat, (stat["throttled_usec"] ?? 0) * 1000),
  };
}

/** Go leaves zeros out. */
const throttlingOf = (stat: Figures, throttledTime: number): CgroupStats["cpu"]["throttling"] => ({
  ...(stat["nr_periods"] ? { periods: stat["nr_periods"] } : {}),
  ...(stat["nr_throttled"] ? { throttledPeriods: stat["nr_throttled"] } : {}),
  ...(throttledTime > 0 ? { throttledTime } : {}),
});

function memoryOf(groups: OwnCgroups): CgroupStats["memory"] {
  const memory = groups.get("memory");
  if (memory !== undefined) {
    const entry = (name: string): MemoryEntry => ({
      limit: numberOf(`${memory}/memory.${name}limit_in_bytes`) ?? 0,
      ...given("usage", numberOf(`${memory}/memory.${name}usage_in_bytes`)),
      ...given("max", numberOf(`${memory}/memory.${name}max_usage_in_bytes`)),
      failcnt: numberOf(`${memory}/memory.${name}failcnt`) ?? 0,
    });
    const raw = figuresOf(`${memory}/memory.stat`);
    return {
      ...given("cache", raw["cache"]),
      usage: entry(""),
      swap: entry("memsw."),
      kernel: entry("kmem."),
      kernelTCP: entry("kmem.tcp."),
      raw,
    };
  }
  const unified = groups.get("unified") ?? "-";
  const raw = figuresOf(`${unified}/memory.stat`);
  const none: MemoryEntry = { limit: 0, failcnt: 0 };
  return {
    ...given("cache", raw["file"]),
    usage: {
      limit: numberOf(`${unified}/memory.max`) ?? noLimit,
      ...given("usage", numberOf(`${unified}/memory.current`)),
      ...given("max", numberOf(`${unified}/memory.peak`)),
      failcnt: figuresOf(`${unified}/memory.events`)["max"] ?? 0,
    },
    swap: {
      limit: numberOf(`${unified}/memory.swap.max`) ?? noLimit,
      ...given("usage", numberOf(`${unified}/memory.swap.current`)),
      failcnt: 0,
    },
    kernel: none,
    kernelTCP: none,
    raw,
  };
}

const given = (name: string, value: number | undefined): Figures =>
  value === undefined ? {} : { [name]: value };

const pidsOf = (directory: string | undefined): CgroupStats["pids"] => ({
  ...given("current", numberOf(`${directory ?? "-"}/pids.current`)),
  ...given("limit", numberOf(`${directory ?? "-"}/pids.max`)),
});

/** How often the kernel has killed for want of memory in the cgroup. */
export function oomKills(groups: OwnCgroups): number {
  const memory = groups.get("memory");
  const file =
    memory === undefined ? `${groups.get("unified") ?? "-"}/memory.events` : `${memory}/memory.oom_control`;
  return figuresOf(file)["oom_kill"] ?? 0;
}

/** Lines of `name 123`; empty when the file is gone. */
function figuresOf(file: string): Figures {
  return Object.fromEntries(
    (textOf(file) ?? "")
      .split("\n")
      .map((line) => /^(\S+) (\d+)$/.exec(line))
      .flatMap((match) => (match?.[1] === undefined ? [] : [[match[1], Number(match[2])]])),
  );
}

/** Undefined for `max`, and when the file is gone. */
function numberOf(file: string): number | undefined {
  const text = textOf(file)?.trim();
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** A cgroup goes at any time with its last process. */
function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
