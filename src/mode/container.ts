/**
 * Container mode: the bundle is handed to runc or crun, run inside the sandbox's network namespace by the warden. Namespaces, cgroup, mounts and
 * privileges of the container are the runtime's work, from the configuration that we write.
 */

import { statePath } from "../spec/paths.ts";
import type { Step } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import { effectiveDns, formatHosts, formatResolvConf } from "../spec/resolv.ts";
import { networkSteps, planOf } from "./common.ts";
import type { ContainerWorkload, ModeDriver, ModeInput } from "./input.ts";

const sigterm = 15;
const defaultDeadlineMs = 10_000;
const bundle = statePath("bundle");

/** Files of the state directory that the configuration binds over the image's own. */
export const etcFiles = {
  "/etc/resolv.conf": statePath("etc/resolv.conf"),
  "/etc/hosts": statePath("etc/hosts"),
  "/etc/hostname": statePath("etc/hostname"),
} as const;

const file = (at: string, text: string, mode: number): Step => ({
  do: "file",
  at: statePath(at),
  content: Buffer.from(text).toString("base64"),
  mode,
});

export const container: ModeDriver<ContainerWorkload> = {
  prepare: (input, { config, lowers, overlay }) =>
    planOf(input, [
      { do: "directory", at: bundle, mode: 0o700 },
      { do: "directory", at: statePath("etc"), mode: 0o755 },
      { do: "namespaces", make: ["network"], join: [] },
      ...networkSteps(input),
      { do: overlay ? "overlay" : "copy", lowers, at: statePath("rootfs") },
      file(`${bundle}/config.json`, JSON.stringify(config), 0o600),
    ]),
  launch: (input, { runtime, program, stopSignal, stopDeadlineMs }, net) => ({
    plan: planOf(input, [
      ...etcSteps(input, net),
      {
        do: "oci",
        runtime,
        path: program,
        bundle,
        stdio: input.stdio,
        stop: { signal: stopSignal ?? sigterm, deadlineMs: stopDeadlineMs ?? defaultDeadlineMs },
      },
    ]),
  }),
};

function etcSteps({ hostname, hostDns }: ModeInput, net: NetFacts | undefined): Step[] {
  const addresses = net?.interfaces[0]?.addresses.map(({ address }) => address) ?? [];
  return [
    file(etcFiles["/etc/resolv.conf"], formatResolvConf(effectiveDns(net?.dns, hostDns)), 0o644),
    file(etcFiles["/etc/hosts"], formatHosts(hostname, addresses), 0o644),
    file(etcFiles["/etc/hostname"], `${hostname}\n`, 0o644),
  ];
}
