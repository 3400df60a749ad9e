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
  carries: { args: true, env: true, ipv6: true, dns: true, nics: 63 },
  defaultBootLine: "{args}",
  maxBootLineBytes: 8191,
  boot: (input) => {
    checkDevices(input);
    return {
      kernel: input.kernel,
      initrd: [],
      shares: [],
      bootLine: expandBootLine(input.offer.bootLine ?? solo5.defaultBootLine, input, solo5.maxBootLineBytes),
      disks: input.disks,
      nics: nicsOf(input.netDevices, input.net),
    };
  },
};

/** Every declared device must be attached, under exactly its name. */
function checkDevices({ offer, root, netDevices, disks }: GuestInput): void {
  for (const name of [...netDevices, ...disks.map((disk) => disk.name)])
    if (!deviceName.test(name))
      throw new TripodError(
        "kernel-invalid",
        `${offer.kernel}: ${JSON.stringify(name.slice(0, 70))} is no name of a Solo5 device`,
      );
  if (root.kind === "initrd")
    throw new TripodError("image-invalid", "a Solo5 guest takes no initrd, yet the image states one");
  const given = new Set(disks.map((disk) => disk.name));
  const missing = (offer.blockDevices ?? []).filter((name) => !given.has(name));
  if (missing.length > 0)
    throw new TripodError(
      "kernel-invalid",
      `the kernel declares the block device ${missing.join(", ")}, for which nothing is given`,
    );
}
