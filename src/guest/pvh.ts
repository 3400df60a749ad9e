/**
 * Plain kernels that are entered by their architecture's own boot protocol and have virtio-mmio devices: on amd64 by PVH, with the devices on the
 * command line (`virtio_mmio.device=`, which the monitor appends); on arm64 as an `Image` of Linux's protocol, with the devices in a device tree.
 */

import { expandBootLine } from "./boot-line.ts";
import type { GuestDriver } from "./guest.ts";
import { nicsOf } from "./nics.ts";

/** x86's COMMAND_LINE_SIZE, which the monitors keep to, less room for `virtio_mmio.device=512@0xfeb00e00:12` for each of 8 slots. */
const maxBootLineBytes = 2047 - 8 * 48;

export const pvh: GuestDriver = {
  kind: "pvh",
  arches: ["amd64", "arm64"],
  roots: ["none", "initrd", "disk"],
  fileSystems: [],
  carries: { args: true, env: true, ipv6: true, dns: true, nics: 8, disks: 8, user: false, files: false },
  maxBootLineBytes,
  boot: (input) => ({
    kernel: input.kernel,
    initrd: input.root.kind === "initrd" ? [{ path: input.root.path }] : [],
    bootLine: expandBootLine(input.offer.bootLine ?? "{args}", input, maxBootLineBytes),
    disks: [
      ...(input.root.kind === "disk" ? [input.root.disk] : []),
      ...input.mounts.map(({ disk }) => disk),
      ...input.disks,
    ],
    shares: [],
    // A PVH kernel declares nothing: it finds what is there. Devices that the image names, else one per interface.
    nics: nicsOf(
      input.netDevices.length > 0 ? input.netDevices : (input.net?.interfaces.map(({ name }) => name) ?? []),
      input.net,
    ),
  }),
};
