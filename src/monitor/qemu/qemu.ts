/**
 * QEMU as the monitor of every guest that `machines.ts` has a machine for. Disks and taps are given as fds; kernel, initrd, directories and QEMU's own files
 * lie in its private root. By KVM where that runs Linux, else emulated.
 *
 * It is stopped by SIGTERM, on which QEMU shuts down in order and writes back what it holds. A control socket would give no more to guests without a
 * power button, and would need a directory that the monitor may write.
 */

import { TripodError } from "../../spec/errors.ts";
import { hostPath, sandboxPath } from "../../spec/paths.ts";
import { formatBytes } from "../../spec/units.ts";
import { type Arch, type GuestKind, type Launch, type Machine, isReadonlyTree } from "../../spec/values.ts";
import { type MonitorDriver, type ProgramNeeds, type RenderInput, deviceNode, mebibyte } from "../monitor.ts";
import { diskArguments, nicArguments, shareArguments, shareBind } from "./devices.ts";
import { shareServer } from "../share-server.ts";
import { type QemuGuest, qemuGuest, qemuGuests } from "./machines.ts";
import { qemuSeccomp } from "./seccomp.ts";

/** Translated code. Smaller costs time, larger only memory. */
const translationMib = 32;
const dataDir = "/usr/share/qemu";
const moduleDir = "/usr/lib/qemu-modules";
/** QEMU closes files of a share that it has not used for long when it comes near this. */
const openFilesWithShares = 4096;

/** Words of every QEMU command line of ours. */
const always = [
  `-L ${dataDir} -nodefaults -no-user-config -no-reboot -display none -monitor none -serial stdio`,
  "-global virtio-mmio.force-legacy=false",
  "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
]
  .join(" ")
  .split(" ");

const programNames: Readonly<Record<Arch, string>> = {
  amd64: "qemu-system-x86_64",
  arm64: "qemu-system-aarch64",
};

/** QEMU's own resident memory, its threads' stacks and page tables; with TCG the translated code and its tables besides. */
const overheadBytes = (machine: Machine): number =>
  (machine.kvm ? 64 : 64 + 2 * translationMib) * mebibyte +
  machine.vcpus * 8 * mebibyte +
  Math.ceil(machine.memoryBytes / 128);

export const qemu: MonitorDriver = {
  features: {
    kind: "qemu",
    guests: qemuGuests,
    kvm: "optional",
    taps: "fd",
    shares: ["9p", "virtiofs"],
    vsock: "kernel",
  },
  needs,
  opensKernel: "path",
  overheadBytes,
  render,
};

function needs(guest: GuestKind, arch: Arch): ProgramNeeds {
  const dirs = ["/usr/local/share/qemu", "/usr/share/qemu", "/usr/share/seabios", "/usr/share/qboot"];
  const firmware = guestOf(guest, arch).machine.firmware;
  return {
    libraries: true,
    files: [
      ...firmware.map((name) => ({ names: [name], dirs, at: dataDir, modules: false })),
      // Where QEMU is built with modules, the emulator is one.
      {
        names: [arch === "amd64" ? "accel-tcg-x86_64.so" : "accel-tcg-aarch64.so"],
        dirs: [
          "/usr/lib/x86_64-linux-gnu/qemu",
          "/usr/lib/aarch64-linux-gnu/qemu",
          "/usr/lib64/qemu",
          "/usr/lib/qemu",
        ],
        at: moduleDir,
        modules: true,
      },
    ],
  };
}

function guestOf(guest: GuestKind, arch: Arch): QemuGuest {
  const found = qemuGuest(guest, arch);
  if (found === undefined)
    throw new TripodError("no-fit", `no QEMU machine is described for ${guest} on ${arch}`);
  return found;
}

function render({ guest, boot, machine, program, needs: files, shareServer: server }: RenderInput): Launch {
  const kind = guestOf(guest, machine.arch);
  const { type, bus } = kind.machine;
  const { initrd } = boot;
  const vsocks = boot.vsock === undefined ? [] : [boot.vsock];
  checkMachine(machine, kind, boot.disks.length + boot.nics.length + boot.shares.length + vsocks.length);
  let fd = 3;
  const disks = boot.disks.map((disk) => ({ disk, at: fd++ }));
  const hosts = vsocks.map(({ cid }) => ({ cid, at: fd++ }));
  const taps = boot.nics.map((nic) => ({ nic, at: fd++ }));
  const shares = boot.shares.map((share, index) => ({
    share,
    index,
    ...(share.kind === "virtiofs" ? { at: fd++ } : {}),
  }));
  const control = fd++;
  const served = boot.shares.filter(({ kind: by }) => by === "9p");
  const isShared = served.length < shares.length;
  const memoryMib = Math.floor(machine.memoryBytes / mebibyte);
  return {
    program,
    argv: [
      programNames[machine.arch],
      ...always,
      "-M",
      isShared ? `${type},memory-backend=memory` : type,
      ...accelerator(machine),
      "-m",
      `${memoryMib}M`,
      ...(isShared ? ["-object", `memory-backend-memfd,id=memory,size=${memoryMib}M,share=on`] : []),
      "-smp",
      `${machine.vcpus}`,
      "-kernel",
      "/kernel",
      "-append",
      boot.bootLine,
      ...(initrd === undefined ? [] : ["-initrd", "/initrd"]),
      ...kind.words,
      "-chardev",
      `socket,id=control,fd=${control}`,
      "-mon",
      "chardev=control,mode=control",
      ...disks.flatMap(({ disk, at }, index) => diskArguments(disk, { index, at, bus })),
      ...taps.flatMap(({ nic, at }, index) => nicArguments(nic, { index, at, bus, guest: kind })),
      ...shares.flatMap(({ share, index, at }) => shareArguments(share, { index, at, bus })),
      ...hosts.flatMap(({ cid, at }) => ["-device", `vhost-vsock-${bus},guest-cid=${cid},vhostfd=${at}`]),
    ],
    // It looks for modules beside its own program, which its private root does not hold.
    env: [`QEMU_MODULE_DIR=${moduleDir}`],
    opens: [
      ...disks.map(({ disk, at }) => ({
        name: `block-${disk.name}`,
        path: disk.path,
        write: !disk.readonly,
        at,
      })),
      ...hosts.map(({ at }) => ({ name: "vsock", path: hostPath("/dev/vhost-vsock"), write: true, at })),
    ],
    taps: taps.map(({ nic, at }) => ({ name: nic.tap, at })),
    binds: [
      ...files,
      { from: boot.kernel, at: sandboxPath("/kernel") },
      ...(initrd === undefined ? [] : [{ from: initrd, at: sandboxPath("/initrd") }]),
      ...shares.flatMap(({ share, index, at }) => (at === undefined ? [shareBind(share, index)] : [])),
    ],
    devices: machine.kvm ? [deviceNode("/dev/kvm")] : [],
    files: [],
    helpers: shares.flatMap(({ share, at }) =>
      at === undefined ? [] : [shareServer(share, server, { at })],
    ),
    ...(served.every(isReadonlyTree) ? {} : { proc: true }),
    ...(served.length > 0 ? { openFiles: openFilesWithShares } : {}),
    // The guest's memory, which the servers of files map.
    ...(isShared ? { memoryFileBytes: machine.memoryBytes } : {}),
    ...(kind.exitCodes === undefined ? {} : { exitCodes: kind.exitCodes }),
    scratchBytes: 0,
    seccomp: qemuSeccomp({ serves: served.length > 0, connects: true }),
    stop: kind.hearsKeys
      ? { say: qmp(pressCtrlAltDel), deadlineMs: 10_000 }
      : { signal: 15, deadlineMs: 5000 },
    channel: {
      at: control,
      say: qmp({ execute: "qmp_capabilities" }, { execute: "query-status" }),
      expect: Buffer.from('"running": true').toString("base64"),
      deadlineMs: 30_000,
    },
    overheadBytes: overheadBytes(machine),
  };
}

/** Lines for QEMU's control channel (QMP). */
const qmp = (...commands: readonly object[]): string =>
  Buffer.from(commands.map((command) => `${JSON.stringify(command)}\n`).join("")).toString("base64");

/** What asks a Linux guest's first process to end; one that asked for nothing else restarts, at which QEMU ends. */
const pressCtrlAltDel = {
  execute: "send-key",
  arguments: { keys: ["ctrl", "alt", "delete"].map((data) => ({ type: "qcode", data })) },
};

function checkMachine({ memoryBytes, vcpus }: Machine, { machine }: QemuGuest, devices: number): void {
  if (memoryBytes < mebibyte)
    throw new TripodError(
      "memory-too-small",
      `QEMU guests need at least 1 MiB of memory, ${formatBytes(memoryBytes)} was asked for`,
      { hint: "-m 16m" },
    );
  if (devices > machine.maxDevices)
    throw new TripodError(
      "no-fit",
      `the guest has ${devices} devices, QEMU's ${machine.type} has ${machine.maxDevices} slots`,
    );
  if (vcpus < 1 || vcpus > 16)
    throw new TripodError("no-fit", `${vcpus} processors were asked for, a guest has 1 to 16`);
}

/** `-arch-capabilities`: some hosts' KVM offers that register and then refuses it. */
function accelerator({ kvm, arch }: Machine): string[] {
  if (!kvm) return ["-accel", `tcg,tb-size=${translationMib}`, "-cpu", "max"];
  return ["-accel", "kvm", "-cpu", arch === "amd64" ? "host,-arch-capabilities" : "host"];
}
