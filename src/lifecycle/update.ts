/** update: new limits for a container that runs, by its own runtime. */

import { leastContainerBytes } from "../select/select.ts";
import { TripodError } from "../spec/errors.ts";
import { present } from "../spec/present.ts";
import { exactSize } from "../spec/units.ts";
import { askRuntime, requireContainer } from "./oci-runtime.ts";
import { cpuQuota } from "./compose.ts";
import { type SandboxView, updateSandboxFile } from "./store.ts";

export interface NewLimits {
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly pids?: number;
}

/**
 * Sets those limits that are given; the others stay. Returns the runtime's exit status. Throws `exec-refused` for what is no container (a monitor's limits are sized for its
 * guest, whose memory cannot change while it runs), `sandbox-busy` for what does not run, `memory-too-small`.
 */
export async function updateSandbox(
  view: SandboxView,
  { memoryBytes, cpus, pids }: NewLimits,
): Promise<number> {
  requireContainer(view, "its limits are those of its guest, and stay as they are while it runs");
  if (memoryBytes !== undefined && memoryBytes < leastContainerBytes)
    throw new TripodError(
      "memory-too-small",
      `a container needs ${exactSize(leastContainerBytes)} of memory, ${exactSize(memoryBytes)} was asked for`,
      { hint: `-m ${exactSize(leastContainerBytes)}` },
    );
  const { file } = view;
  const quota = cpus === undefined ? undefined : cpuQuota(cpus);
  const words: string[] = [];
  // The limit with swap is moved along, or it would stand in the way of a higher one.
  if (memoryBytes !== undefined) words.push("--memory", `${memoryBytes}`, "--memory-swap", `${memoryBytes}`);
  if (quota !== undefined)
    words.push("--cpu-quota", `${quota.cpuQuotaUs}`, "--cpu-period", `${quota.cpuPeriodUs}`);
  if (pids !== undefined) words.push("--pids-limit", `${pids}`);
  const status = await askRuntime(view, "update", [...words, file.id]);
  if (status === 0)
    await updateSandboxFile(view.dir, {
      ...file,
      ...present({ memoryBytes }),
      limits: { ...file.limits, ...quota, ...present({ memoryBytes, pids }) },
    });
  return status;
}
