/** What boot lines say of a network: per interface its first address of each family, and the gateway of its default route. */

import type { NetFacts } from "../spec/protocol.ts";

export interface Address {
  readonly address: string;
  readonly prefix: number;
  /** Of the default route by this interface. */
  readonly gateway?: string;
}

export interface Link {
  readonly name: string;
  readonly v4?: Address;
  readonly v6?: Address;
}

/** The interfaces of the namespace in their order. */
export const linksOf = (net: NetFacts | undefined): readonly Link[] =>
  (net?.interfaces ?? []).map(({ name, addresses }) => {
    const of = (family: "ipv4" | "ipv6", everywhere: string): Address | undefined => {
      const found = addresses.find((entry) => entry.family === family);
      if (found === undefined) return undefined;
      const gateway = net?.routes.find(
        (route) => route.destination === everywhere && route.interface === name,
      )?.gateway;
      const { address, prefix } = found;
      return { address, prefix, ...(gateway === undefined ? {} : { gateway }) };
    };
    const v4 = of("ipv4", "0.0.0.0/0");
    const v6 = of("ipv6", "::/0");
    return { name, ...(v4 === undefined ? {} : { v4 }), ...(v6 === undefined ? {} : { v6 }) };
  });

/** Name servers that a guest which speaks IPv4 only can ask. */
export const servers4 = (net: NetFacts | undefined): readonly string[] =>
  (net?.dns.servers ?? []).filter((server) => !server.includes(":"));

const bits4 = (address: string): number =>
  address.split(".").reduce((bits, part) => (bits << 8) | Number(part), 0) >>> 0;

/** How many leading bits two IPv4 addresses share. */
export const commonBits4 = (a: string, b: string): number => Math.clz32((bits4(a) ^ bits4(b)) >>> 0);

/** Whether the gateway lies in its interface's own subnet; Calico's 169.254.1.1, for one, does not. IPv4. */
export const isInSubnet = ({ address, prefix, gateway }: Address): boolean =>
  gateway === undefined || commonBits4(address, gateway) >= prefix;
