/** The two pure functions of every mode, chosen by the workload's own tag: callers do not know which mode they run. */

import type { Plan } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import { container } from "./container.ts";
import type { LaunchPlan, ModeInput } from "./input.ts";
import { unikernel } from "./unikernel.ts";

/** The ground plan: cgroup, namespaces, network, root file system. */
export function prepare(input: ModeInput): Plan {
  const { workload } = input;
  return workload.mode === "container"
    ? container.prepare(input, workload)
    : unikernel.prepare(input, workload);
}

/** The launch plan, given what the sandbox's network namespace holds now (undefined: nothing but loopback). */
export function launch(input: ModeInput, net: NetFacts | undefined): LaunchPlan {
  const { workload } = input;
  return workload.mode === "container"
    ? container.launch(input, workload, net)
    : unikernel.launch(input, workload, net);
}
