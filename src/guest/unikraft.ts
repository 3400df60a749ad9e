/**
 * Unikraft. Library parameters go before `--`, the program's arguments after it. From 0.16.1 on the network, the mounts and the variables have other
 * names than before; where the image does not say its version, it is taken for a newer one.
 */

import { bootLineOf, checkCarried } from "./carries.ts";
import { netmask4 } from "./boot-line.ts";
import type { GuestDriver, GuestInput } from "./guest.ts";
import { linksOf, servers4 } from "./network.ts";
import { nicsOf } from "./nics.ts";
import { argumentName, quotedNotEmpty, unsayable, variableName } from "./words.ts";

/** Words beyond this many are dropped by a kernel of the default configuration. */
const maxWords = 60;
const shareTag = "fs0";

export const unikraft: GuestDriver = {
  kind: "unikraft",
  arches: ["amd64", "arm64"],
  roots: ["none", "initrd", "9p"],
  fileSystems: [],
  carries: { args: true, env: true, ipv6: false, dns: true, nics: 4, disks: 0, user: false, files: false },
  usualMemoryBytes: 256 * 1024 * 1024,
  maxBootLineBytes: 2047 - 8 * 48,
  boot: (input) => {
    checkCarried(unikraft, input);
    const { root, net } = input;
    return {
      kernel: input.kernel,
      initrd: root.kind === "initrd" ? [{ path: root.path }] : [],
      bootLine: bootLineOf(unikraft, input, () => words(input)),
      disks: [],
      nics: nicsOf(
        linksOf(net).map(({ name }) => name),
        net,
      ),
      shares: root.kind === "9p" ? [{ ...root, kind: root.kind, tag: shareTag }] : [],
    };
  },
};

/** Before 0.16.1. What is no version is a newer one. */
export function isOld(version: string | undefined): boolean {
  const match = /^v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/.exec(version ?? "");
  if (match === null) return false;
  const [major = 0, minor = 0, patch = 0] = match.slice(1).map((part) => Number(part ?? 0));
  return major === 0 && (minor < 16 || (minor === 16 && patch < 1));
}

function words(input: GuestInput): readonly string[] {
  const { offer, args } = input;
  const all = [
    "Unikraft",
    ...(offer.arch === "arm64" ? ["console=ttyS0"] : []),
    ...(isOld(offer.version) ? oldParameters(input) : parameters(input)),
    "--",
    ...args.map((arg, index) => quotedNotEmpty(arg, argumentName(index))),
  ];
  if (all.length > maxWords)
    throw unsayable(`a boot line of ${all.length} words`, `is cut by the guest, which reads ${maxWords}`);
  return all;
}

function parameters({ env, net, root }: GuestInput): readonly string[] {
  const networks = linksOf(net).flatMap(({ v4 }, index) => {
    if (v4 === undefined) return [];
    const fields = [
      `${v4.address}/${v4.prefix}`,
      v4.gateway ?? "",
      ...(index === 0 ? servers4(net).slice(0, 2) : []),
    ];
    return [fields.join(":").replace(/:+$/, "")];
  });
  return [
    ...(env.length === 0 ? [] : ["env.vars=[", ...env.map(variable), "]"]),
    ...(networks.length > 1
      ? ["netdev.ip=[", ...networks, "]"]
      : networks.map((each) => `netdev.ip=${each}`)),
    ...(root.kind === "initrd" ? ["vfs.fstab=[", '"initrd0:/:extract:::"', "]"] : []),
    ...(root.kind === "9p" ? ["vfs.fstab=[", `"${shareTag}:/:9pfs:::"`, "]"] : []),
  ];
}

function variable(entry: string): string {
  if (entry.endsWith("]"))
    throw unsayable(variableName(entry), "ends with ], which Unikraft takes for the end of its list");
  return quotedNotEmpty(entry, variableName(entry));
}

function oldParameters({ net, root, wished, offer }: GuestInput): readonly string[] {
  const [first] = wished?.env ?? [];
  if (first !== undefined)
    throw unsayable(
      variableName(first),
      `cannot be given to Unikraft ${offer.version}, which has no way for it`,
    );
  if (root.kind === "9p")
    throw unsayable("a root by 9p", `cannot be given to Unikraft ${offer.version}, which has no way for it`);
  const links = linksOf(net);
  if (links.length > 1)
    throw unsayable("a second network interface", `cannot be given to Unikraft ${offer.version}`);
  const v4 = links[0]?.v4;
  return [
    ...(v4 === undefined ? [] : [`netdev.ipv4_addr=${v4.address}`]),
    ...(v4?.gateway === undefined ? [] : [`netdev.ipv4_gw_addr=${v4.gateway}`]),
    ...(v4 === undefined ? [] : [`netdev.ipv4_subnet_mask=${netmask4(v4.prefix)}`]),
    ...(root.kind === "initrd" ? ["vfs.rootfs=initrd"] : []),
  ];
}
