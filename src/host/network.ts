/**
 * The configured networks: CNI lists (spec 1.0.0) in `<lib>/networks/NAME.conflist`. `bridge` is written on first use, with a bridge and a subnet
 * of its own per installation, so that several roots on one machine never meet. Operators add their own beside it.
 */

import { createHash, randomUUID } from "node:crypto";
import { link, mkdir, readFile, readdir, unlink, writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";

const networkPattern = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,40}$/;
/** Where `bridge` looks for a free subnet: 10.128.0.0 … 10.255.240.0, each a /20 of 4093 sandboxes. */
const candidateSubnets = 128 * 16;
const prefixLength = 20;

const toNumber = (address: string): number =>
  address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);

/** Of an address in hexadecimal in the machine's (little-endian) byte order. */
const littleEndian = (hex: string): number => Buffer.from(hex, "hex").readUInt32LE(0);

/** IPv4 ranges that this machine already knows, as [first, last]: its interfaces' subnets and its routes. */
async function takenRanges(): Promise<(readonly [number, number])[]> {
  const ranges: (readonly [number, number])[] = [];
  const add = (base: number, mask: number): void => {
    if (mask === 0) return;
    const size = 2 ** 32 - mask;
    const first = base - (base % size);
    ranges.push([first, first + size - 1]);
  };
  for (const addresses of Object.values(networkInterfaces()))
    for (const { family, address, netmask } of addresses ?? [])
      if (family === "IPv4") add(toNumber(address), toNumber(netmask));
  const routes = await readFile("/proc/net/route", "utf8").catch(() => "");
  for (const line of routes.split("\n").slice(1)) {
    const fields = line.split("\t");
    if (/^[0-9A-F]{8}$/.test(fields[1] ?? "") && /^[0-9A-F]{8}$/.test(fields[7] ?? ""))
      add(littleEndian(fields[1] ?? ""), littleEndian(fields[7] ?? ""));
  }
  return ranges;
}

/** The first candidate after `seed` that overlaps nothing; pure. */
export function freeSubnet(seed: number, taken: readonly (readonly [number, number])[]): string | undefined {
  for (let offset = 0; offset < candidateSubnets; offset++) {
    const index = (seed + offset) % candidateSubnets;
    const first = toNumber("10.128.0.0") + index * 4096;
    if (taken.some(([from, to]) => from <= first + 4095 && first <= to)) continue;
    return `10.${128 + (index >> 4)}.${(index & 15) << 4}.0/${prefixLength}`;
  }
  return undefined;
}

/** The default list: a bridge with masquerading, published ports and a firewall that lets the sandbox's traffic through. Pure. */
export function bridgeConflist(bridge: string, subnet: string, leaseDir: string): string {
  const list = {
    cniVersion: "1.0.0",
    name: bridge,
    plugins: [
      {
        type: "bridge",
        bridge,
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {
          type: "host-local",
          dataDir: leaseDir,
          ranges: [[{ subnet }]],
          routes: [{ dst: "0.0.0.0/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
      { type: "firewall" },
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/**
 * Makes sure that the named network is configured, writing `bridge` if it is not there yet. Throws `network-not-found` with the names there are.
 */
export async function ensureNetwork(lib: HostPath, name: string): Promise<void> {
  const dir = join(lib, "networks");
  if (!networkPattern.test(name))
    throw new TripodError("usage", `not a network name: ${JSON.stringify(name.slice(0, 60))}`);
  const path = join(dir, `${name}.conflist`);
  if (await isThere(path)) return;
  if (name !== "bridge") {
    const names = (await readdir(dir).catch(() => [] as string[])).filter((file) =>
      file.endsWith(".conflist"),
    );
    const known = ["none", "bridge", ...names.map((file) => file.slice(0, -".conflist".length))];
    throw new TripodError("network-not-found", `no network is called ${name}`, {
      hint: `known: ${[...new Set(known)].join(", ")}; a new one is a CNI list in ${path}`,
    });
  }
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const hash = createHash("sha256").update(lib).digest();
  const subnet = freeSubnet(hash.readUInt16LE(0), await takenRanges());
  if (subnet === undefined)
    throw new TripodError("network-failed", "no /20 of 10.128.0.0/9 is free on this machine", {
      hint: `write ${path} by hand`,
    });
  const bridge = lib === "/var/lib/tripod" ? "tripod0" : `tripod-${hash.toString("hex", 4, 8)}`;
  await writeWhole(path, bridgeConflist(bridge, subnet, join(dir, "leases")));
}

const isThere = (path: string): Promise<boolean> =>
  readFile(path).then(
    () => true,
    (error: unknown) => {
      if (errnoOf(error) === "ENOENT") return false;
      throw error;
    },
  );

/** Makes a file appear whole; keeps the one that another process made first. */
async function writeWhole(path: string, content: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  await writeFile(aside, content, { mode: 0o600 });
  try {
    await link(aside, path);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
  } finally {
    await unlink(aside);
  }
}
