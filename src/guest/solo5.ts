/** Plain binaries of the Solo5 ABIs `hvt` and `spt`: devices by the names of their manifest, one command line of at most 8191 bytes. */

import { TripodError } from "../spec/errors.ts";
import { expandBootLine } from "./boot-line.ts";
import type { GuestDriver, GuestInput } from "./guest.ts";
import { nicsOf } from "./nics.ts";

/** Device names of a Solo5 manifest. */
const deviceName = /^[A-Za-z0-9]{1,67}$/;

export const solo5: GuestDriver = {
  kind: "solo5",
  arches: ["amd64", "arm64"],
  roots: ["none"],
  fileSystems: [],
  carries: { args: true, env: true, ipv6: true, dns: true, nics: 63, disks: 63, user: false, files: false },
  maxBootLineBytes: 8191,
  boot: (input) => {
    if (input.root.kind === "initrd")
      throw new TripodError("image-invalid", "a Solo5 guest takes no initrd, yet the image states one");
    return {
      kernel: input.kernel,
      initrd: [],
      shares: [],
      bootLine: expandBootLine(input.offer.bootLine ?? "{args}", input, solo5.maxBootLineBytes),
      ...devicesOf(named(input)),
    };
  },
};

/** Every declared device must be attached, under exactly its name. Throws `kernel-invalid` for a name that is none and a block device without a disk. */
export function devicesOf({ offer, net, netDevices, blockDevices, disks }: GuestInput) {
  for (const name of [...netDevices, ...disks.map((disk) => disk.name)])
    if (!deviceName.test(name))
      throw new TripodError(
        "kernel-invalid",
        `${offer.kernel}: ${JSON.stringify(name.slice(0, 70))} is no name of a Solo5 device`,
      );
  const given = new Set(disks.map((disk) => disk.name));
  const missing = blockDevices.filter((name) => !given.has(name));
  if (missing.length > 0)
    throw new TripodError(
      "kernel-invalid",
      `the kernel declares the block device ${missing.join(", ")}, for which nothing is given`,
    );
  return { disks, nics: nicsOf(netDevices, net) };
}

/**
 * The input with its devices by the names that the kernel declares, or `defaults` where it is not known what it declares: the root disk first, then the
 * disks that have a mount point, then those that were named already. Throws `kernel-invalid` for more disks than the kernel has names for.
 */
export function named(
  input: GuestInput,
  defaults?: { readonly net: string; readonly block: string },
): GuestInput {
  const { root, mounts, disks, blockDevices, netDevices, net } = input;
  const unnamed = [...(root.kind === "disk" ? [root.disk] : []), ...mounts.map(({ disk }) => disk)];
  const names =
    blockDevices.length > 0 || defaults === undefined
      ? blockDevices.filter((name) => disks.every((disk) => disk.name !== name))
      : [defaults.block];
  const taken = unnamed.map((disk, index) => {
    const name = names[index];
    if (name === undefined)
      throw new TripodError(
        "kernel-invalid",
        `the kernel has ${names.length} block devices, and ${unnamed.length} disks are given`,
      );
    return { ...disk, name };
  });
  const isUnknown = netDevices.length === 0 && (net?.interfaces.length ?? 0) > 0;
  return {
    ...input,
    disks: [...taken, ...disks],
    netDevices: isUnknown && defaults !== undefined ? [defaults.net] : netDevices,
  };
}
