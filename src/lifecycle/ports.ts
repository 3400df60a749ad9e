/** Published ports: free ones are found and taken ones refused before anything is made, because a network plugin would shadow a listener without a word. */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { PortRule } from "../host/port-rules.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { SandboxFile } from "../spec/values.ts";
import type { SandboxView } from "./store.ts";

const anyAddress = new Set([undefined, "0.0.0.0", "::"]);

/** How often ports that we choose are chosen anew because another start chose the same, or a rule has them. */
const mostChoices = 50;

const meet = (a: PortMapping, b: PortMapping): boolean =>
  a.hostPort === b.hostPort &&
  a.protocol === b.protocol &&
  (anyAddress.has(a.hostIp) || anyAddress.has(b.hostIp) || a.hostIp === b.hostIp);

/** Throws `usage` for a port at an IPv6 address of the host where the network is our own bridge: its sandboxes have IPv4 alone, so nothing would answer. */
export function refuseUnreachable(ports: readonly PortMapping[], network: string): void {
  if (network !== "bridge") return;
  const port = ports.find(({ hostIp }) => hostIp?.includes(":") === true);
  if (port === undefined) return;
  const { hostIp = "", hostPort, guestPort } = port;
  const ipv4 = hostIp === "::1" ? "127.0.0.1:" : "";
  throw new TripodError(
    "usage",
    `host port [${hostIp}]:${hostPort}/${port.protocol} cannot be published: the network bridge has IPv4 only`,
    {
      hint: `publish it at an IPv4 address: -p ${ipv4}${hostPort}:${guestPort}; or --network NAME, a CNI list of your own with IPv6`,
    },
  );
}

const has = (rule: PortRule, port: PortMapping): boolean =>
  rule.protocol === port.protocol &&
  rule.firstPort <= port.hostPort &&
  port.hostPort <= rule.lastPort &&
  (rule.hostIp === undefined || anyAddress.has(port.hostIp) || rule.hostIp === port.hostIp);

/** The rules that are not of our own sandboxes, which `settlePorts` knows better: it names them, and the stopped have none. */
export async function foreignRules(
  sandboxes: () => Promise<readonly SandboxView[]>,
  rules: () => Promise<readonly PortRule[]>,
): Promise<readonly PortRule[]> {
  // One that goes meanwhile is in the first list, one that comes in the second.
  const before = await sandboxes();
  const found = await rules();
  if (found.length === 0) return found;
  const own = new Set([...before, ...(await sandboxes())].map(({ file }) => file.id));
  return found.filter(({ containerId }) => containerId === undefined || !own.has(containerId));
}

/**
 * Checks each port against the host's listeners and the network rules of others, and gives every host port of 0 a free one. Throws `port-in-use`,
 * `usage`.
 */
export async function claimPorts(
  ports: readonly PortMapping[],
  rules: readonly PortRule[] = [],
): Promise<PortMapping[]> {
  const claimed: PortMapping[] = [];
  for (const port of ports) {
    const twin = claimed.find((other) => port.hostPort !== 0 && meet(port, other));
    if (twin !== undefined)
      throw new TripodError("usage", `host port ${port.hostPort}/${port.protocol} is published twice`);
    claimed.push(await claim(port, rules));
  }
  return claimed;
}

/** The port as it can be had, chosen anew while a rule has what the kernel chose. */
async function claim(port: PortMapping, rules: readonly PortRule[]): Promise<PortMapping> {
  for (let choice = 1; choice <= mostChoices; choice++) {
    const hostPort = await (port.protocol === "tcp" ? bindTcp(port) : bindUdp(port));
    const bound = { ...port, hostPort };
    if (!rules.some((rule) => has(rule, bound))) return bound;
    if (port.hostPort !== 0)
      throw new TripodError(
        "port-in-use",
        `host port ${hostPort}/${port.protocol} is published by a network rule of another installation`,
        {
          hint: `iptables -t nat -S shows the rule; or publish another port: -p ${hostPort + 1}:${port.guestPort}`,
        },
      );
  }
  throw new TripodError(
    "port-in-use",
    `no free host port was found for ${port.guestPort}/${port.protocol}: network rules of other installations have all that were tried`,
    { hint: `iptables -t nat -S shows the rules; or name a port: -p PORT:${port.guestPort}` },
  );
}

/** A port of ours that another sandbox has. */
interface Clash {
  readonly index: number;
  readonly port: PortMapping;
  readonly other: SandboxFile;
}

/**
 * Finds the first port that another sandbox has. Called after our own reservation is visible, so that of two at once the earlier keeps it and the later sees
 * it; with `yieldToAll` the later keeps it too: who chooses anew gives way to whoever has chosen.
 */
function findClash(
  file: SandboxFile,
  others: readonly SandboxView[],
  yieldToAll: boolean,
): Clash | undefined {
  for (const { file: other, status } of others) {
    if (other.id === file.id || status === "stopped" || status === "dead") continue;
    const isLater =
      other.createdAt > file.createdAt || (other.createdAt === file.createdAt && other.id > file.id);
    if (isLater && !yieldToAll) continue;
    for (const [index, port] of file.ports.entries())
      if (other.ports.some((theirs) => meet(port, theirs))) return { index, port, other };
  }
  return undefined;
}

/**
 * Makes sure that no other sandbox has our ports: one that was asked for and is taken is refused, one that we chose is chosen anew. `publish` makes the new choice
 * visible to others; `rules` are those of other installations. Throws `port-in-use`.
 */
export async function settlePorts(
  asked: readonly PortMapping[],
  first: SandboxFile,
  others: () => Promise<readonly SandboxView[]>,
  publish: (file: SandboxFile) => Promise<void>,
  rules: readonly PortRule[] = [],
): Promise<SandboxFile> {
  let file = first;
  for (let choice = 1; file.ports.length > 0; choice++) {
    const clash = findClash(file, await others(), choice > 1);
    if (clash === undefined) break;
    const { index, port, other } = clash;
    if (asked[index]?.hostPort !== 0 || choice === mostChoices)
      throw new TripodError(
        "port-in-use",
        `host port ${port.hostPort}/${port.protocol} is published by ${other.name}`,
        {
          hint: `tripod rm -f ${other.name}, or publish another port: -p ${port.hostPort + 1}:${port.guestPort}`,
        },
      );
    file = { ...file, ports: await claimPorts(asked, rules) };
    await publish(file);
  }
  return file;
}

function refuse(port: PortMapping, error: unknown): TripodError {
  const where = `${port.hostIp === undefined ? "" : `${port.hostIp}:`}${port.hostPort}/${port.protocol}`;
  switch (errnoOf(error)) {
    case "EADDRINUSE":
      return new TripodError("port-in-use", `host port ${where} is in use by another program`, {
        hint: `ss -lnp 'sport = :${port.hostPort}' shows by which; or publish another port`,
      });
    case "EADDRNOTAVAIL":
      return new TripodError(
        "usage",
        `this machine has no address ${port.hostIp ?? ""}, so ${where} cannot be published`,
      );
    default:
      return new TripodError(
        "network-failed",
        `host port ${where} cannot be published: ${error instanceof Error ? error.message : String(error)}`,
      );
  }
}

function bindTcp(port: PortMapping): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(refuse(port, error)));
    server.listen({ host: port.hostIp ?? "0.0.0.0", port: port.hostPort }, () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === "object" && address !== null ? address.port : port.hostPort),
      );
    });
  });
}

function bindUdp(port: PortMapping): Promise<number> {
  const socket = createSocket(port.hostIp?.includes(":") === true ? "udp6" : "udp4");
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => reject(refuse(port, error)));
    socket.bind({ address: port.hostIp ?? "0.0.0.0", port: port.hostPort, exclusive: true }, () => {
      const { port: bound } = socket.address();
      socket.close(() => resolve(bound));
    });
  });
}
