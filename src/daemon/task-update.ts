/** Update of a task's limits, in its cgroups. */

import { setLimits } from "../host/cgroup-limits.ts";
import { limitsOfResources, updateEngineSandbox } from "../lifecycle/engine/update.ts";
import { viewSandboxIn } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import { type Any, jsonTypes, unpackJson } from "../wire/well-known.ts";
import { cgroupsOf } from "./task-stats.ts";
import type { TaskRecord } from "./task-record.ts";

/** Memory of a guest is its own, to which what the monitor needs is added. Throws as the setting of limits does. */
export async function updateTask(
  stateDir: HostPath,
  id: string,
  { mode, pid }: TaskRecord,
  resources: Any,
): Promise<void> {
  const limits = limitsOfResources(unpackJson(jsonTypes.linuxResources, resources));
  const cgroups = cgroupsOf(pid, id);
  if (cgroups === undefined) throw new TripodError("sandbox-busy", `task ${id} has ended`);
  if (mode === "container") {
    setLimits(cgroups, limits);
    return;
  }
  const view = await viewSandboxIn(stateDir);
  if (view === undefined) throw new TripodError("bug", `task ${id} has no record of its size`);
  await updateEngineSandbox({ view, cgroups }, limits);
}
