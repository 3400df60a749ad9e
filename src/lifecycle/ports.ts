/** Published ports: free ones are found and taken ones refused before anything is made, because a network plugin would shadow a listener without a word. */

import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { SandboxFile } from "../spec/values.ts";
import type { SandboxView } from "./store.ts";

const anyAddress = new Set([undefined, "0.0.0.0", "::"]);

const meet = (a: PortMapping, b: PortMapping): boolean =>
  a.hostPort === b.hostPort &&
  a.protocol === b.protocol &&
  (anyAddress.has(a.hostIp) || anyAddress.has(b.hostIp) || a.hostIp === b.hostIp);

/** Checks each port against the host's listeners and gives every host port of 0 a free one. Throws `port-in-use`, `usage`. */
export async function claimPorts(ports: readonly PortMapping[]): Promise<PortMapping[]> {
  const claimed: PortMapping[] = [];
  for (const port of ports) {
    const twin = claimed.find((other) => port.hostPort !== 0 && meet(port, other));
    if (twin !== undefined)
      throw new TripodError("usage", `host port ${port.hostPort}/${port.protocol} is published twice`);
    claimed.push({ ...port, hostPort: await (port.protocol === "tcp" ? bindTcp(port) : bindUdp(port)) });
  }
  return claimed;
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
export function findClash(
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

/** How often ports that we choose are chosen anew because another start chose the same. */
const mostChoices = 50;

/**
 * Makes sure that no other sandbox has our ports: one that was asked for and is taken is refused, one that we chose is chosen anew. `publish` makes the new choice
 * visible to others. Throws `port-in-use`.
 */
export async function settlePorts(
  asked: readonly PortMapping[],
  first: SandboxFile,
  others: () => Promise<readonly SandboxView[]>,
  publish: (file: SandboxFile) => Promise<void>,
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
    file = { ...file, ports: await claimPorts(asked) };
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
