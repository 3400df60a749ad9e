/**
 * QEMU as the monitor of PVH kernels: the `microvm` machine without ACPI, all devices on virtio-mmio (version 1 of the standard), everything but
 * the kernel and QEMU's own files given as fds. By KVM where that runs Linux, else emulated.
 *
 * It is stopped by SIGTERM, on which QEMU shuts down in order and writes back what it holds. A control socket would give no more:
 * without ACPI the machine has no power button to press, and the socket would need a directory that the monitor may write.
 */

import { TripodError } from "../../spec/errors.ts";
import { hostPath, sandboxPath } from "../../spec/paths.ts";
import { formatBytes } from "../../spec/units.ts";
import type { Disk, Launch, Machine, Nic } from "../../spec/values.ts";
import { type MonitorDriver, type RenderInput, mebibyte } from "../monitor.ts";
import { qemuSeccomp } from "./seccomp.ts";

/** Translated code. Smaller costs time, larger only memory. */
const translationMib = 32;
/** The `microvm` machine without ACPI has this many virtio-mmio slots. */
const maxDevices = 8;
const dataDir = "/usr/share/qemu";
const moduleDir = "/usr/lib/qemu-modules";

/** Words of every QEMU command line of ours. */
const always = [
  `-L ${dataDir} -M microvm,acpi=off -nodefaults -no-user-config -no-reboot`,
  "-display none -monitor none -serial stdio -global virtio-mmio.force-legacy=false",
  "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
]
  .join(" ")
  .split(" ");

/** QEMU's own resident memory, its threads' stacks and page tables; with TCG the translated code and its tables besides. */
const overheadBytes = (machine: Machine): number =>
  (machine.kvm ? 64 : 64 + 2 * translationMib) * mebibyte +
  machine.vcpus * 8 * mebibyte +
  Math.ceil(machine.memoryBytes / 128);

export const qemu: MonitorDriver = {
  features: { kind: "qemu", arches: ["amd64"], guests: ["pvh"], kvm: "optional", taps: "fd", shares: [] },
  needs: {
    libraries: true,
    files: [
      {
        names: ["qboot.rom", "pvh.bin"],
        dirs: ["/usr/local/share/qemu", "/usr/share/qemu", "/usr/share/qboot"],
        at: dataDir,
        modules: false,
      },
      // Where QEMU is built with modules, the emulator is one.
      {
        names: ["accel-tcg-x86_64.so"],
        dirs: ["/usr/lib/x86_64-linux-gnu/qemu", "/usr/lib64/qemu", "/usr/lib/qemu"],
        at: moduleDir,
        modules: true,
      },
    ],
  },
  opensKernel: "path",
  overheadBytes,
  render,
};

function render({ boot, machine, program, needs }: RenderInput): Launch {
  checkMachine(machine, boot.disks.length + boot.nics.length);
  let fd = 3;
  const disks = boot.disks.map((disk) => ({ disk, at: fd++ }));
  const taps = boot.nics.map((nic) => ({ nic, at: fd++ }));
  const { initrd } = boot;
  return {
    program,
    argv: [
      "qemu-system-x86_64",
      ...always,
      ...accelerator(machine),
      "-m",
      `${Math.floor(machine.memoryBytes / mebibyte)}M`,
      "-smp",
      `${machine.vcpus}`,
      "-kernel",
      "/kernel",
      "-append",
      boot.bootLine,
      ...(initrd === undefined ? [] : ["-initrd", "/initrd"]),
      ...disks.flatMap(({ disk, at }, index) => diskArguments(disk, index, at)),
      ...taps.flatMap(({ nic, at }, index) => nicArguments(nic, index, at)),
    ],
    // It looks for modules beside its own program, which its private root does not hold.
    env: [`QEMU_MODULE_DIR=${moduleDir}`],
    opens: disks.map(({ disk, at }) => ({
      name: `block-${disk.name}`,
      path: disk.path,
      write: !disk.readonly,
      at,
    })),
    taps: taps.map(({ nic, at }) => ({ name: nic.tap, at })),
    binds: [
      ...needs,
      { from: boot.kernel, at: sandboxPath("/kernel") },
      ...(initrd === undefined ? [] : [{ from: initrd, at: sandboxPath("/initrd") }]),
    ],
    devices: machine.kvm ? [{ from: hostPath("/dev/kvm"), at: sandboxPath("/dev/kvm") }] : [],
    files: [],
    scratchBytes: 0,
    seccomp: qemuSeccomp,
    stop: { signal: 15, deadlineMs: 5000 },
    overheadBytes: overheadBytes(machine),
  };
}

function checkMachine({ arch, memoryBytes, vcpus }: Machine, devices: number): void {
  if (arch !== "amd64") throw new TripodError("no-fit", `no QEMU machine is described for ${arch}`);
  if (memoryBytes < mebibyte)
    throw new TripodError(
      "memory-too-small",
      `QEMU guests need at least 1 MiB of memory, ${formatBytes(memoryBytes)} was asked for`,
      { hint: "-m 16m" },
    );
  if (devices > maxDevices)
    throw new TripodError(
      "no-fit",
      `the guest has ${devices} devices, QEMU's microvm has ${maxDevices} slots`,
    );
  // A PVH kernel of our kinds starts one processor; more would stand idle and cost memory.
  if (vcpus < 1 || vcpus > 16)
    throw new TripodError("no-fit", `${vcpus} processors were asked for, a guest has 1 to 16`);
}

/** `-arch-capabilities`: some hosts' KVM offers that register and then refuses it. */
const accelerator = (machine: Machine): string[] =>
  machine.kvm
    ? ["-accel", "kvm", "-cpu", "host,-arch-capabilities"]
    : ["-accel", `tcg,tb-size=${translationMib}`, "-cpu", "max"];

/** An fd set of one, so that QEMU never opens a path. No locks: the file is this sandbox's alone, and its fd cannot be reopened for one. */
function diskArguments({ name, readonly, sectorBytes }: Disk, index: number, at: number): string[] {
  const sector =
    sectorBytes === undefined ? "" : `,logical_block_size=${sectorBytes},physical_block_size=${sectorBytes}`;
  return [
    "-add-fd",
    `fd=${at},set=${at}`,
    "-blockdev",
    `driver=file,node-name=file${index},filename=/dev/fdset/${at},locking=off,read-only=${readonly ? "on" : "off"}`,
    "-device",
    `virtio-blk-device,drive=file${index},serial=${name}${sector}`,
  ];
}

const nicArguments = ({ mac, mtu }: Nic, index: number, at: number): string[] => [
  "-netdev",
  `tap,id=net${index},fd=${at}`,
  "-device",
  `virtio-net-device,netdev=net${index},mac=${mac},host_mtu=${mtu}`,
];
