/** Steps that every mode has. */

import { type HostPath, type StatePath, hostPath } from "../spec/paths.ts";
import type { Plan, Step } from "../spec/plan.ts";
import type { ModeInput } from "./input.ts";

/** The name of the sandbox's interface in its namespace, as every engine has it. */
const interfaceName = "eth0";

export const planOf = ({ sandbox }: ModeInput, steps: readonly Step[]): Plan => ({
  version: 1,
  id: sandbox.id,
  steps,
});

/** The sandbox's network by CNI, or nothing: a namespace of its own it has in any case. */
export const networkSteps = ({ sandbox, cniPluginDirs }: ModeInput): Step[] =>
  sandbox.network === "none"
    ? []
    : [
        {
          do: "network",
          name: sandbox.network,
          interface: interfaceName,
          pluginDirs: cniPluginDirs,
          ports: sandbox.ports,
        },
      ];

/** Where a file of the state directory is on the host. */
export const hostPathOf = ({ stateDir }: ModeInput, file: StatePath): HostPath =>
  hostPath(`${stateDir}/${file}`);
