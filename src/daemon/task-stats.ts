/** A task's use of the machine in containerd's form: of version 1 where the memory controller is there, else of version 2. */

import { readFileSync } from "node:fs";
import { type CgroupStats, cgroupStats, oomKills } from "../host/cgroup-stats.ts";
import { type OwnCgroups, ownCgroups } from "../host/usage.ts";
import { encodeMessage } from "../wire/protobuf.ts";
import { metricsV1, metricsV2 } from "../wire/metrics.ts";
import type { Any } from "../wire/well-known.ts";

/** The task's own cgroups; undefined when its process has ended. */
export function cgroupsOf(pid: number, id: string): OwnCgroups | undefined {
  try {
    const groups = ownCgroups(readFileSync(`/proc/${pid}/cgroup`, "utf8"), id);
    return groups.size === 0 ? undefined : groups;
  } catch {
    return undefined;
  }
}

/** Numbers of 64 bits, those that are absent left out. */
const big = <N extends string>(
  figures: Readonly<Record<N, number | undefined>>,
): Partial<Record<N, bigint>> =>
  Object.fromEntries(
    Object.entries<number | undefined>(figures).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, BigInt(Math.round(value))]],
    ),
  ) as Partial<Record<N, bigint>>;

const camel = (name: string): string =>
  name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** Of version 1, whose messages take four of the kernel's words apart. */
const words: readonly (readonly [string, string])[] = [
  ["pgpg", "pg_pg_"],
  ["pgfault", "pg_fault"],
  ["pgmajfault", "pg_maj_fault"],
];
const camelFirst = (name: string): string =>
  camel(words.reduce((text, [from, to]) => text.replace(from, to), name));

/** The kernel's own figures, as far as the message has them. */
const raw = (
  figures: Readonly<Record<string, number>>,
  fields: object,
  rename: (name: string) => string,
): Record<string, bigint> =>
  Object.fromEntries(
    Object.entries(figures)
      .map(([name, value]) => [rename(name), BigInt(value)] as const)
      .filter(([name]) => Object.hasOwn(fields, name)),
  );

export function metricsOf(groups: OwnCgroups): Any {
  const stats = cgroupStats(groups);
  const isFirst = groups.has("memory") || groups.has("cpuacct");
  return isFirst
    ? { typeUrl: metricsV1.name, value: firstVersion(stats, oomKills(groups)) }
    : { typeUrl: metricsV2.name, value: secondVersion(stats, oomKills(groups)) };
}

function firstVersion({ cpu, memory, pids }: CgroupStats, oomKill: number): Uint8Array {
  const entry = ({ limit, usage, max, failcnt }: CgroupStats["memory"]["usage"]) =>
    big({ limit, usage, max, failcnt });
  return encodeMessage(metricsV1, {
    pids: big({ current: pids.current, limit: pids.limit }),
    cpu: {
      usage: {
        ...big({ total: cpu.usage.total, kernel: cpu.usage.kernel, user: cpu.usage.user }),
        perCpu: (cpu.usage.percpu ?? []).map(BigInt),
      },
      throttling: big({
        periods: cpu.throttling.periods,
        throttledPeriods: cpu.throttling.throttledPeriods,
        throttledTime: cpu.throttling.throttledTime,
      }),
    },
    memory: {
      ...raw(memory.raw, metricsV1.fields.memory[1].fields, camelFirst),
      usage: entry(memory.usage),
      swap: entry(memory.swap),
      kernel: entry(memory.kernel),
      kernelTcp: entry(memory.kernelTCP),
    },
    memoryOomControl: big({ oomKill }),
  });
}

const microseconds = (ns: number | undefined): number | undefined =>
  ns === undefined ? undefined : ns / 1000;

function secondVersion({ cpu, memory, pids }: CgroupStats, oomKill: number): Uint8Array {
  return encodeMessage(metricsV2, {
    pids: big({ current: pids.current, limit: pids.limit }),
    cpu: big({
      usageUsec: microseconds(cpu.usage.total),
      userUsec: microseconds(cpu.usage.user),
      systemUsec: microseconds(cpu.usage.kernel),
      nrPeriods: cpu.throttling.periods,
      nrThrottled: cpu.throttling.throttledPeriods,
      throttledUsec: microseconds(cpu.throttling.throttledTime),
    }),
    memory: {
      ...raw(memory.raw, metricsV2.fields.memory[1].fields, camel),
      ...big({
        usage: memory.usage.usage,
        usageLimit: memory.usage.limit,
        maxUsage: memory.usage.max,
        swapUsage: memory.swap.usage,
        swapLimit: memory.swap.limit,
      }),
    },
    memoryEvents: big({ oomKill }),
  });
}
