/** Rumprun on Solo5: one JSON object, in which a key may stand several times. One network, one disk. */

import { TripodError } from "../spec/errors.ts";
import { bootLineOf, checkCarried } from "./carries.ts";
import type { GuestDriver, GuestInput } from "./guest.ts";
import { type Address, commonBits4, isInSubnet, linksOf } from "./network.ts";
import { devicesOf, named } from "./solo5.ts";
import { argumentName, checkText, unsayable, variableName } from "./words.ts";

/** It cannot mount `/`, so the image's own root is found here. */
const rootMountPoint = "/data";
const defaults = { net: "tap", block: "rootfs" } as const;

export const rumprun: GuestDriver = {
  kind: "rumprun",
  arches: ["amd64", "arm64"],
  roots: ["none", "disk"],
  fileSystems: ["ext2"],
  carries: { args: true, env: true, ipv6: true, dns: false, nics: 1, disks: 1, user: false, files: false },
  usualMemoryBytes: 256 * 1024 * 1024,
  maxBootLineBytes: 8191,
  boot: (input) => {
    checkCarried(rumprun, input);
    const devices = named(input, defaults);
    return {
      kernel: input.kernel,
      initrd: [],
      bootLine: bootLineOf(rumprun, input, () => [configuration(input)]),
      ...devicesOf(devices),
      shares: [],
    };
  },
};

/** Its key's value by JSON's rules; the object is put together by hand, since keys repeat. */
const member = (key: string, value: unknown): string => `${JSON.stringify(key)}:${JSON.stringify(value)}`;

function configuration({ args, env, net, root, mounts }: GuestInput): string {
  for (const entry of env) checkText(entry, variableName(entry));
  const [link] = linksOf(net);
  const family = link?.v4 ?? link?.v6;
  const mountPoint = root.kind === "disk" ? rootMountPoint : mounts[0]?.at;
  if (mountPoint === "/") throw unsayable("a disk at /", "cannot be mounted there by rumprun");
  const members = [
    member("cmdline", args.map((arg, index) => escaped(arg, argumentName(index))).join(" ")),
    ...env.map((entry) => member("env", entry)),
    ...(family === undefined
      ? []
      : [member("net", network(family, link?.v4 === undefined ? "inet6" : "inet"))]),
    ...(mountPoint === undefined
      ? []
      : [member("blk", { source: "etfs", path: "/dev/ld0a", fstype: "blk", mountpoint: mountPoint })]),
  ];
  return `{${members.join(",")}}`;
}

/** Its parser takes the character after a backslash as it is; an empty argument it sees in quotes only. */
function escaped(arg: string, what: string): string {
  checkText(arg, what);
  return arg === "" ? "''" : arg.replace(/[\\'" ]/g, "\\$&");
}

function network(family: Address, type: "inet" | "inet6") {
  const { address, gateway } = family;
  return {
    if: "ukvmif0",
    cloner: "True",
    type,
    method: "static",
    addr: address,
    mask: `${type === "inet" ? reachingPrefix(family) : family.prefix}`,
    ...(gateway === undefined ? {} : { gw: gateway }),
  };
}

/**
 * The subnet's own prefix, or where the gateway lies outside the longest that takes it in: NetBSD accepts no gateway that it does not reach. Throws
 * `network-failed` when no prefix does.
 */
function reachingPrefix(family: Address): number {
  const { address, prefix, gateway } = family;
  if (gateway === undefined || isInSubnet(family)) return prefix;
  const common = commonBits4(address, gateway);
  if (common === 0)
    throw new TripodError(
      "network-failed",
      `the gateway ${gateway} lies outside of every subnet of ${address}, and rumprun guests cannot reach it`,
      { hint: "use a network whose gateway is in its subnet, or --network none" },
    );
  return common;
}
