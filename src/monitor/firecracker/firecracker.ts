/**
 * Firecracker as the monitor of guests on virtio-mmio: PVH kernels, Linux and Unikraft. It is told everything by one file and has no API socket. What it needs
 * lies in its private root; a tap it opens by its name.
 *
 * It is stopped by SIGKILL: it handles no other signal, and as the first process of its namespace is deaf to those that it does not handle. Ctrl-Alt-Del, its
 * only way to ask a guest, needs the API, exists on x86 alone and reaches no guest but Linux with a keyboard controller: an open socket would be a high
 * price for that.
 */

import { TripodError } from "../../spec/errors.ts";
import { type SandboxPath, sandboxPath } from "../../spec/paths.ts";
import { formatBytes } from "../../spec/units.ts";
import type { Disk, Launch, Machine } from "../../spec/values.ts";
import {
  type MonitorDriver,
  type RenderInput,
  deviceNode,
  disksByPath,
  mebibyte,
  vsockNeeds,
  vsockPath,
} from "../monitor.ts";
import { firecrackerSeccomp } from "./seccomp.ts";

/** Firecracker's own bounds. */
const maxVcpus = 32;
/** On x86 17 virtio-mmio devices find an interrupt. */
const maxDevices = 17;

/** What every guest takes for granted. */
const ethernetMtu = 1500;

const configPath = sandboxPath("/config.json");
const diskPath = (index: number): SandboxPath => sandboxPath(`/disk-${index}`);

/** Firecracker promises 5 MiB; page tables come on top. */
const overheadBytes = (machine: Machine): number =>
  16 * mebibyte + machine.vcpus * mebibyte + Math.ceil(machine.memoryBytes / 128);

export const firecracker: MonitorDriver = {
  features: {
    kind: "firecracker",
    guests: { pvh: ["amd64"], linux: ["amd64", "arm64"], unikraft: ["amd64"] },
    kvm: "required",
    taps: "name",
    shares: [],
    vsock: "socket",
  },
  // Released programs are static; one that was built here is not.
  needs: () => ({ libraries: "as-linked", files: [] }),
  opensKernel: "path",
  exitMeanings: {
    148: "a forbidden system call",
    149: "bus error",
    150: "segmentation fault",
    151: "a file too large",
    152: "bad configuration",
    153: "bad arguments",
    154: "processor time limit",
    157: "illegal instruction",
  },
  overheadBytes,
  render,
};

function render({ boot, machine, program, needs }: RenderInput): Launch {
  check(boot, machine);
  const { initrd } = boot;
  const disks = disksByPath(boot.disks, diskPath);
  const vsock = vsockNeeds(boot);
  return {
    program,
    // Its log goes to stdout, among the guest's lines: of its own it says only what is wrong.
    argv: ["firecracker", "--no-api", "--config-file", configPath, "--level", "Error"],
    env: [],
    opens: [],
    taps: boot.nics.map(({ tap }) => ({ name: tap })),
    binds: [
      ...needs,
      { from: boot.kernel, at: sandboxPath("/kernel") },
      ...(initrd === undefined ? [] : [{ from: initrd, at: sandboxPath("/initrd") }]),
      ...disks.files,
      ...vsock.binds,
    ],
    devices: [
      deviceNode("/dev/kvm"),
      ...(boot.nics.length > 0 ? [deviceNode("/dev/net/tun")] : []),
      ...disks.devices,
    ],
    files: [
      { at: configPath, content: Buffer.from(JSON.stringify(config(boot, machine))).toString("base64") },
    ],
    helpers: [],
    scratchBytes: vsock.scratchBytes,
    // The ring of a network device is a page that is mapped twice.
    memoryFileBytes: 65_536,
    seccomp: firecrackerSeccomp({ calls: boot.vsock !== undefined }),
    stop: { signal: 9, deadlineMs: 2000 },
    overheadBytes: overheadBytes(machine),
  };
}

function check(boot: RenderInput["boot"], { memoryBytes, vcpus }: Machine): void {
  if (memoryBytes < mebibyte)
    throw new TripodError(
      "memory-too-small",
      `Firecracker guests need at least 1 MiB of memory, ${formatBytes(memoryBytes)} was asked for`,
      { hint: "-m 16m" },
    );
  if (vcpus < 1 || vcpus > maxVcpus)
    throw new TripodError("no-fit", `${vcpus} processors were asked for, a guest has 1 to ${maxVcpus}`);
  const devices = boot.disks.length + boot.nics.length + (boot.vsock === undefined ? 0 : 1);
  if (devices > maxDevices)
    throw new TripodError("no-fit", `the guest has ${devices} devices, Firecracker has ${maxDevices} slots`);
  if (boot.shares.length > 0)
    throw new TripodError("no-fit", "Firecracker cannot give a guest a directory of the host");
  const odd = boot.disks.find(({ sectorBytes = 512 }) => sectorBytes !== 512);
  if (odd !== undefined)
    throw new TripodError(
      "no-fit",
      `the disk ${odd.name} has sectors of ${odd.sectorBytes} bytes, Firecracker's have 512`,
    );
}

/** The file that Firecracker reads, by its published API: the bodies of its requests under the names of their resources. */
function config({ initrd, bootLine, disks, nics, vsock }: RenderInput["boot"], machine: Machine) {
  return {
    "boot-source": {
      kernel_image_path: "/kernel",
      boot_args: bootLine,
      ...(initrd === undefined ? {} : { initrd_path: "/initrd" }),
    },
    "machine-config": {
      vcpu_count: machine.vcpus,
      mem_size_mib: Math.floor(machine.memoryBytes / mebibyte),
    },
    drives: disks.map((disk, index) => drive(disk, diskPath(index))),
    "network-interfaces": nics.map(({ tap, mac, mtu }, index) => ({
      iface_id: `net${index}`,
      host_dev_name: tap,
      guest_mac: mac,
      // Firecracker before 1.16 refuses the field: it gets it only where the guest would be wrong without.
      ...(mtu === ethernetMtu ? {} : { mtu }),
    })),
    ...(vsock === undefined ? {} : { vsock: { guest_cid: vsock.cid, uds_path: vsockPath } }),
  };
}

/** Never "the root device": Firecracker would add words of its own to the boot line, which says already what the root is. */
const drive = ({ name, readonly }: Disk, path: SandboxPath) => ({
  drive_id: name.replaceAll(/[^A-Za-z0-9_]/g, "_"),
  is_root_device: false,
  is_read_only: readonly,
  path_on_host: path,
});
