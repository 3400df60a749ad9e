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

/**
 * Refuses a port that another sandbox has. Called after our own reservation is visible, so that of two at once the earlier keeps it and the later sees it. Throws
 * `port-in-use`.
 */
export function refuseTakenPorts(file: SandboxFile, others: readonly SandboxView[]): void {
  for (const { file: other, status } of others) {
    if (other.id === file.id || status === "stopped" || status === "dead") continue;
    if (other.createdAt > file.createdAt || (other.createdAt === file.createdAt && other.id > file.id))
      continue;
    const taken = file.ports.find((port) => other.ports.some((theirs) => meet(port, theirs)));
    if (taken !== undefined)
      throw new TripodError(
        "port-in-use",
        `host port ${taken.hostPort}/${taken.protocol} is published by ${other.name}`,
        {
          hint: `tripod rm -f ${other.name}, or publish another port: -p ${taken.hostPort + 1}:${taken.guestPort}`,
        },
      );
  }
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
