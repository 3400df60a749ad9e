/**
 * What an engine tells of the pod that a container belongs to, and what follows for a guest's network: alone it takes the pod's interface over; beside
 * another container it gets a network of its own behind it, at addresses that every container of the pod can compute.
 */

import { createHash } from "node:crypto";
import type { Nat } from "../../mode/input.ts";
import type { CreateRequest } from "../../spec/brain.ts";
import type { EngineConfig } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";
import { ipv4Subnet, ipv4Text } from "../../spec/ipv4.ts";

/** How a user says it outright. */
export const networkKey = "dev.tripod.network";
export const portsKey = "dev.tripod.ports";

/** containerd's and CRI-O's names for the pod's sandbox and for the container in it. */
const podKeys = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"];
const nameKeys = [
  "io.kubernetes.cri.container-name",
  "io.kubernetes.cri-o.ContainerName",
  "io.kubernetes.container.name",
];

/** The container of Knative's that holds the user's program, and the one that all its requests come through. */
const knativeUser = "user-container";
const knativeProxy = "queue-proxy";

const said = ({ annotations }: EngineConfig, keys: readonly string[]): string | undefined =>
  keys.map((key) => annotations?.[key]).find((value) => value !== undefined && value !== "");

export const isQueueProxy = (config: EngineConfig): boolean => said(config, nameKeys) === knativeProxy;

/** docker's `--network container:X`: the namespace is named by the other container's process, and no pod of an orchestrator's is spoken of. */
const isAnothers = (config: EngineConfig): boolean =>
  said(config, podKeys) === undefined &&
  config.linux?.namespaces?.some(
    ({ type, path }) => type === "network" && /^\/proc\/[0-9]+\/ns\/net$/.test(path ?? ""),
  ) === true;

/**
 * The network behind the pod's interface; undefined: the guest takes the interface over. Throws `annotation-invalid` for what the annotations say wrongly.
 */
export function natOf(config: EngineConfig, request: CreateRequest, pool: string): Nat | undefined {
  const wish = config.annotations?.[networkKey];
  if (wish !== undefined && wish !== "nat" && wish !== "redirect")
    throw new TripodError(
      "annotation-invalid",
      `config.json: ${networkKey}: ${JSON.stringify(wish.slice(0, 80))} is neither nat nor redirect`,
    );
  const beside = said(config, nameKeys) === knativeUser || request.neighbours > 0 || isAnothers(config);
  if (wish === "redirect" || (wish === undefined && !beside)) return undefined;
  return { ...podAddresses(config, request.id, pool), ports: portsOf(config) };
}

/** Four addresses of the pool by the pod's id, so that nothing has to be agreed upon: two of them are used. */
export function podAddresses(config: EngineConfig, id: string, pool: string): Omit<Nat, "ports"> {
  const subnet = ipv4Subnet(pool);
  if (subnet === undefined || subnet.size < 4)
    throw new TripodError("bug", `${pool} is no pool of addresses`);
  const hash = createHash("sha256")
    .update(said(config, podKeys) ?? id)
    .digest()
    .readUIntBE(0, 6);
  const first = subnet.first + (hash % (subnet.size / 4)) * 4;
  return { host: ipv4Text(first + 1), guest: ipv4Text(first + 2), prefix: 30 };
}

/** `80,53/udp`. */
function portsOf({ annotations }: EngineConfig): Nat["ports"] {
  const text = annotations?.[portsKey] ?? "";
  if (text === "") return [];
  return text.split(",").map((part) => {
    const match = /^([1-9][0-9]{0,4})(?:\/(tcp|udp))?$/.exec(part.trim());
    const port = Number(match?.[1]);
    if (!(port < 65_536))
      throw new TripodError(
        "annotation-invalid",
        `config.json: ${portsKey}: ${JSON.stringify(part.slice(0, 40))} is no port such as 80 or 53/udp`,
      );
    return { port, protocol: match?.[2] === "udp" ? "udp" : "tcp" };
  });
}
