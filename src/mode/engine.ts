/** What differs on a ground that an engine has laid: the network namespace, and hooks. */

import { TripodError } from "../spec/errors.ts";
import { subnetsOverlap } from "../spec/ipv4.ts";
import type { Step } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { EngineGround, ModeInput, Nat, OciHook } from "./input.ts";

/** All new, but for a network namespace that an engine has made. */
export function namespacesStep({ engine, hostname }: ModeInput): Step {
  const joined = engine?.networkNamespace;
  const own = ["mount", "pid", "ipc", "uts", "cgroup"] as const;
  return {
    do: "namespaces",
    make: joined === undefined ? ["network", ...own] : own,
    join: joined === undefined ? [] : [{ kind: "network", path: joined }],
    hostname,
  };
}

/** Where hooks of a time run, and when (runtime-spec, config.md, POSIX-platform hooks). */
const hookRules = {
  prestart: { when: "now", where: "runtime" },
  createRuntime: { when: "now", where: "runtime" },
  createContainer: { when: "now", where: "container" },
  startContainer: { when: "start", where: "container" },
  poststart: { when: "poststart", where: "runtime" },
  poststop: { when: "poststop", where: "runtime" },
} as const satisfies Record<OciHook["time"], unknown>;

/**
 * All hooks, in the order of their times: they belong to the ground, before the network is looked at (some engines fill the namespace by them), since the
 * launch may wait for `start`. Those whose time comes are only kept here.
 */
export const hookSteps = ({ hooks, hookState }: EngineGround): Step[] =>
  hooks.map(({ time, path, args, env, timeoutMs }) => ({
    do: "hook",
    ...hookRules[time],
    path,
    argv: args,
    env,
    timeoutMs,
    state: Buffer.from(hookState).toString("base64"),
  }));

/** A MAC of our own: the shared interface keeps its. Each namespace has one guest at most behind a NAT of this subnet. */
const natMac = "02:00:00:00:00:fe";

/** The network as a guest behind a NAT sees it: one interface with its own address, the namespace's end as its gateway. */
export function behindNat(nat: Nat, net: NetFacts): NetFacts {
  const [link] = net.interfaces;
  if (link === undefined)
    throw new TripodError("network-failed", "the network namespace has no interface to share with the guest");
  const taken = [
    ...net.interfaces.flatMap(({ addresses }) => addresses.map((one) => `${one.address}/${one.prefix}`)),
    ...net.routes.map(({ destination }) => destination).filter((destination) => destination !== "0.0.0.0/0"),
  ].filter((subnet) => !subnet.includes(":"));
  const own = `${nat.host}/${nat.prefix}`;
  const clash = taken.find((subnet) => subnetsOverlap(subnet, own));
  if (clash !== undefined)
    throw new TripodError(
      "network-failed",
      `the guest's own network ${own} lies in ${clash}, which the pod knows already`,
      {
        hint: "choose another network.nat_pool in the configuration",
      },
    );
  const dns = { ...net.dns, servers: net.dns.servers.filter((server) => !server.includes(":")) };
  return {
    interfaces: [
      {
        name: link.name,
        mac: natMac,
        mtu: link.mtu,
        up: true,
        addresses: [{ family: "ipv4", address: nat.guest, prefix: nat.prefix }],
      },
    ],
    routes: [{ family: "ipv4", destination: "0.0.0.0/0", gateway: nat.host, interface: link.name }],
    dns,
  };
}

/** After the tap is there. `link`: the shared interface. */
export const natStep = ({ host, guest, prefix, ports }: Nat, tap: string, link: string): Step => ({
  do: "nat",
  tap,
  link,
  host,
  guest,
  prefix,
  ports,
});
