/** `update` of a unikernel under an engine: its cgroup's limits, within what its guest was given. */

import * as v from "valibot";
import { type NewLimits, setLimits } from "../../host/cgroup-limits.ts";
import { TripodError } from "../../spec/errors.ts";
import { present } from "../../spec/present.ts";
import { exactSize } from "../../spec/units.ts";
import { updateSandboxFile } from "../store.ts";
import type { EngineSandbox } from "./sandbox.ts";

const number = v.nullish(v.pipe(v.number(), v.safeInteger()));
const text = v.nullish(v.string());
/** `linux.resources` of the runtime specification; parts that a monitor has no use for (devices, block I/O) are passed over, as at creation. */
const resourcesSchema = v.object({
  memory: v.nullish(v.object({ limit: number, reservation: number })),
  cpu: v.nullish(v.object({ shares: number, quota: number, period: number, cpus: text, mems: text })),
  pids: v.nullish(v.object({ limit: number })),
});

/** Nothing, and in Go's zeros nothing either. */
const set = <Value extends number | string>(value: Value | null | undefined): Value | undefined =>
  value === null || value === 0 || value === "" ? undefined : value;

/** Limits of an engine's JSON. Throws `bundle-invalid`. */
export function limitsOfResources(content: unknown): NewLimits {
  const result = v.safeParse(resourcesSchema, content);
  if (!result.success) {
    const [issue] = result.issues;
    throw new TripodError("bundle-invalid", `resources: ${v.getDotPath(issue) ?? ""} ${issue.message}`);
  }
  const { memory, cpu, pids } = result.output;
  return present({
    memoryBytes: set(memory?.limit),
    memoryReservationBytes: set(memory?.reservation),
    cpuQuotaUs: set(cpu?.quota),
    cpuPeriodUs: set(cpu?.period),
    cpuShares: set(cpu?.shares),
    cpusetCpus: set(cpu?.cpus),
    cpusetMems: set(cpu?.mems),
    pids: set(pids?.limit),
  });
}

/** Memory is the guest's, to which what the monitor needs is added. Throws `memory-too-small`, `state-unwritable`. */
export async function updateEngineSandbox(
  { view: { file, dir }, cgroups }: EngineSandbox,
  limits: NewLimits,
): Promise<void> {
  const { memoryBytes, ...rest } = limits;
  if (memoryBytes !== undefined && memoryBytes >= 0 && memoryBytes < file.memoryBytes)
    throw new TripodError(
      "memory-too-small",
      `unable to set memory limit to ${memoryBytes}: the guest was given ${exactSize(file.memoryBytes)} when it was created, which stay its own while it runs`,
      { hint: "create it anew with less memory" },
    );
  const overhead = Math.max(0, (file.limits.memoryBytes ?? 0) - file.memoryBytes);
  setLimits(cgroups, {
    ...rest,
    ...(memoryBytes === undefined ? {} : { memoryBytes: memoryBytes < 0 ? -1 : memoryBytes + overhead }),
  });
  const { cpuQuotaUs, cpuPeriodUs, cpuShares, cpusetCpus, pids } = limits;
  const kept = present({ cpuQuotaUs, cpuPeriodUs, cpuShares, pids });
  await updateSandboxFile(dir, {
    ...file,
    limits: {
      ...file.limits,
      ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value >= 0)),
      ...present({ cpusetCpus }),
    },
  });
}
