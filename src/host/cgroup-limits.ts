/** New limits for a cgroup that is in use, on whichever hierarchy has the controller. The warden sets the first ones (`native/warden/src/cgroup/limits.rs`). */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { OwnCgroups } from "./usage.ts";

/** What is given is set, the rest stays. -1 takes a limit away. */
export interface NewLimits {
  readonly memoryBytes?: number;
  readonly memoryReservationBytes?: number;
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs?: number;
  readonly cpuShares?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly pids?: number;
}

const defaultPeriodUs = 100_000;

/** Throws `state-unwritable` with the file that refused; what was set before it stays set. */
export function setLimits(groups: OwnCgroups, limits: NewLimits): void {
  const { memoryBytes, memoryReservationBytes, pids, cpuShares, cpusetCpus, cpusetMems } = limits;
  const at = (controller: string): { readonly directory: string; readonly unified: boolean } => {
    const own = groups.get(controller);
    const directory = own ?? groups.get("unified");
    if (directory === undefined) throw unwritable(`the cgroup controller ${controller}`, "it is not mounted");
    return { directory, unified: own === undefined };
  };
  if (memoryBytes !== undefined) setMemory(at("memory"), memoryBytes);
  if (memoryReservationBytes !== undefined) {
    const { directory, unified } = at("memory");
    const name = unified ? "memory.low" : "memory.soft_limit_in_bytes";
    write(directory, name, valueOf(memoryReservationBytes, unified));
  }
  if (limits.cpuQuotaUs !== undefined || limits.cpuPeriodUs !== undefined) setQuota(at("cpu"), limits);
  if (cpuShares !== undefined) {
    const { directory, unified } = at("cpu");
    if (unified) write(directory, "cpu.weight", `${weightOfShares(cpuShares)}`);
    else write(directory, "cpu.shares", `${cpuShares}`);
  }
  if (cpusetCpus !== undefined) write(at("cpuset").directory, "cpuset.cpus", cpusetCpus);
  if (cpusetMems !== undefined) write(at("cpuset").directory, "cpuset.mems", cpusetMems);
  if (pids !== undefined) write(at("pids").directory, "pids.max", pids < 0 ? "max" : `${pids}`);
}

interface Place {
  readonly directory: string;
  readonly unified: boolean;
}

const valueOf = (bytes: number, unified: boolean): string =>
  bytes < 0 ? (unified ? "max" : "-1") : `${bytes}`;

/** Version 1 wants the limit with swap to be at no moment below the one without. */
function setMemory({ directory, unified }: Place, bytes: number): void {
  const value = valueOf(bytes, unified);
  if (unified) return write(directory, "memory.max", value);
  const [limit, withSwap] = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
  if (!existsSync(join(directory, withSwap))) return write(directory, limit, value);
  const now = Number(readFileSync(join(directory, limit), "utf8"));
  const isHigher = bytes < 0 || bytes > now;
  for (const name of isHigher ? [withSwap, limit] : [limit, withSwap]) write(directory, name, value);
}

function setQuota({ directory, unified }: Place, { cpuQuotaUs, cpuPeriodUs }: NewLimits): void {
  if (unified) {
    const [quota, period] = readFileSync(join(directory, "cpu.max"), "utf8").trim().split(" ");
    const next = cpuQuotaUs === undefined ? quota : cpuQuotaUs < 0 ? "max" : `${cpuQuotaUs}`;
    return write(directory, "cpu.max", `${next} ${cpuPeriodUs ?? period ?? defaultPeriodUs}`);
  }
  // A period alone may not fit the old quota, a quota not the old period: without a quota every period fits.
  if (cpuPeriodUs !== undefined) {
    if (cpuQuotaUs !== undefined) write(directory, "cpu.cfs_quota_us", "-1");
    write(directory, "cpu.cfs_period_us", `${cpuPeriodUs}`);
  }
  if (cpuQuotaUs !== undefined) write(directory, "cpu.cfs_quota_us", `${cpuQuotaUs}`);
}

/** 2…262144 shares are 1…10000 of weight, as runc converts them. */
const weightOfShares = (shares: number): number =>
  1 + Math.floor(((Math.min(Math.max(shares, 2), 262_144) - 2) * 9999) / 262_142);

const unwritable = (what: string, why: string, cause?: unknown): TripodError =>
  new TripodError("state-unwritable", `${what} cannot be set: ${why}`, { cause });

function write(directory: string, name: string, value: string): void {
  try {
    writeFileSync(join(directory, name), value);
  } catch (cause) {
    throw unwritable(`${name} to ${value}`, errnoOf(cause) ?? String(cause), cause);
  }
}
