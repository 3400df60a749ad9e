/**
 * Which machine QEMU makes for which guest. Unikernels find their devices where they were written to look for them: PVH kernels on virtio-mmio from the
 * command line, Unikraft, Mirage, Mewz and Hermit on the PCI bus of a PC. Linux gets the PC as well: a kernel made for QEMU has virtio on PCI, and without a
 * PC's timers it cannot tell the speed of an emulated clock.
 */

import type { MonitorFeatures } from "../../spec/support.ts";
import { type Arch, type GuestKind, arches, guestKinds } from "../../spec/values.ts";

export interface QemuMachine {
  /** The value of `-M`. */
  readonly type: string;
  /** What follows the name of a virtio device: the bus that it sits on. */
  readonly bus: "device" | "pci";
  /** Disks, network devices, shares and the vsock in all. */
  readonly maxDevices: number;
  /** QEMU's own files that it loads into this machine. */
  readonly firmware: readonly string[];
}

/** No PCI, no ACPI, and virtio-mmio devices that QEMU names on the kernel's command line. */
const microvm: QemuMachine = {
  type: "microvm,acpi=off",
  bus: "device",
  maxDevices: 8,
  firmware: ["qboot.rom", "pvh.bin", "linuxboot_dma.bin"],
};
/** The PC of 1996. 32 slots, of which the chipset has two; the rest is room. */
const pc: QemuMachine = {
  type: "pc,usb=off,vmport=off,smm=off",
  bus: "pci",
  maxDevices: 24,
  firmware: ["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin", "multiboot_dma.bin"],
};
/** Arm's generic machine: 32 virtio-mmio slots that a device tree names. It starts a kernel without firmware. */
const virt: QemuMachine = { type: "virt", bus: "device", maxDevices: 32, firmware: [] };

/** What one guest has on one machine. */
export interface QemuGuest {
  readonly machine: QemuMachine;
  /** Properties of its network devices besides the common ones. */
  readonly nic: string;
  /** Whether its network devices say their MTU. A guest that knows nothing of that may refuse the device. */
  readonly mtu: boolean;
  readonly words: readonly string[];
  /** Whether its first process hears Ctrl-Alt-Del: how Linux is asked to stop. */
  readonly hearsKeys?: true;
  /** See `exitCodes` of the plan's step `spawn`. */
  readonly exitCodes?: readonly (readonly [status: number, exitCode: number])[];
}

const plain = (machine: QemuMachine): QemuGuest => ({ machine, nic: "", mtu: true, words: [] });

/**
 * A guest that writes n to the debug port ends QEMU with 2n+1. QEMU's own failures end with 1 as well, which is then taken for success: the port leaves no
 * other way, and QEMU says on stderr what failed.
 */
const debugExitCodes = Array.from({ length: 128 }, (_, code) => [2 * code + 1, code] as const);

/** The debug port, at the address that Mewz and our first process write to. */
const debugExit = ["-device", "isa-debug-exit,iobase=0x501,iosize=2"] as const;

const guests: Readonly<Record<Arch, Readonly<Partial<Record<GuestKind, QemuGuest>>>>> = {
  amd64: {
    pvh: plain(microvm),
    linux: {
      ...plain(pc),
      words: debugExit,
      // 0 is said by the machine's ordinary end: status 1 stays QEMU's own failure.
      exitCodes: debugExitCodes.filter(([, code]) => code > 0),
      hearsKeys: true,
    },
    unikraft: plain(pc),
    mirage: plain(pc),
    mewz: {
      machine: pc,
      nic: ",disable-legacy=on,disable-modern=off",
      mtu: false,
      words: debugExit,
      exitCodes: debugExitCodes,
    },
    hermit: { machine: pc, nic: ",disable-legacy=on", mtu: false, words: [] },
  },
  arm64: { pvh: plain(virt), linux: plain(virt), unikraft: plain(virt) },
};

/** What a guest gets; undefined where QEMU has no machine for it. */
export const qemuGuest = (guest: GuestKind, arch: Arch): QemuGuest | undefined => guests[arch][guest];

/** The guests and the architectures that they run on, as `MonitorFeatures` says them. */
export const qemuGuests: MonitorFeatures["guests"] = Object.fromEntries(
  guestKinds.flatMap((guest) => {
    const on = arches.filter((arch) => qemuGuest(guest, arch) !== undefined);
    return on.length === 0 ? [] : [[guest, on]];
  }),
);
