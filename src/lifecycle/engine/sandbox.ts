/** A unikernel that an engine made, for the verbs that change or measure it. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type OwnCgroups, ownCgroups } from "../../host/usage.ts";
import { TripodError } from "../../spec/errors.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";
import { type SandboxView, viewSandboxIn } from "../store.ts";

export interface EngineSandbox {
  readonly view: SandboxView;
  readonly cgroups: OwnCgroups;
}

/** `root` is the caller's `--root`. Throws `sandbox-not-found` and `sandbox-busy` in the words that engines look for. */
export async function engineSandbox(root: HostPath, id: string): Promise<EngineSandbox> {
  const view = await viewSandboxIn(hostPath(join(root, id)));
  if (view === undefined) throw new TripodError("sandbox-not-found", `container does not exist: ${id}`);
  const { state, status } = view;
  if (state === undefined || !["created", "running", "paused"].includes(status))
    throw new TripodError("sandbox-busy", `container not running: ${id}`);
  // Empty when it ended a moment ago: no cgroup is found then.
  const membership = await readFile(`/proc/${state.warden.pid}/cgroup`, "utf8").catch(() => "");
  const cgroups = ownCgroups(membership, id);
  if (cgroups.size === 0) throw new TripodError("sandbox-busy", `container not running: ${id}`);
  return { view, cgroups };
}
