/**
 * Cloud Hypervisor as the monitor of Linux and of PVH kernels that find virtio on PCI. Taps are given as fds; everything else lies in its private root.
 *
 * It is stopped by SIGTERM, on which it shuts its machine down. The power button needs its API, which stays closed. A guest that resets its machine begins
 * anew; one that is to end switches it off. Needs version 52.
 */

import { TripodError } from "../../spec/errors.ts";
import { type SandboxPath, sandboxPath } from "../../spec/paths.ts";
import { formatBytes } from "../../spec/units.ts";
import type { Disk, Launch, Machine, Nic, Share } from "../../spec/values.ts";
import {
  type MonitorDriver,
  type RenderInput,
  deviceNode,
  disksByPath,
  mebibyte,
  vsockNeeds,
  vsockPath,
} from "../monitor.ts";
import { shareServer } from "../share-server.ts";
import { cloudHypervisorSeccomp } from "./seccomp.ts";

const maxVcpus = 254;
/** Its one PCI segment has 32 slots, of which the host bridge and its own devices take a few. */
const maxDevices = 24;
const diskPath = (index: number): SandboxPath => sandboxPath(`/disk-${index}`);
const socketPath = (index: number): SandboxPath => sandboxPath(`/share-${index}.sock`);

const overheadBytes = (machine: Machine): number =>
  32 * mebibyte + machine.vcpus * 2 * mebibyte + Math.ceil(machine.memoryBytes / 128);

export const cloudHypervisor: MonitorDriver = {
  features: {
    kind: "cloud-hypervisor",
    guests: { pvh: ["amd64"], linux: ["amd64", "arm64"] },
    kvm: "required",
    taps: "fd",
    shares: ["virtiofs"],
    vsock: "socket",
  },
  // Released programs are static; one that was built here is not.
  needs: () => ({ libraries: "as-linked", files: [] }),
  opensKernel: "path",
  overheadBytes,
  render,
};

function render({ boot, machine, program, needs, shareServer: server }: RenderInput): Launch {
  check(boot, machine);
  const { initrd } = boot;
  const disks = disksByPath(boot.disks, diskPath);
  const shared = boot.shares.length > 0;
  const vsock = vsockNeeds(boot);
  const taps = boot.nics.map((nic, index) => ({ nic, at: 3 + index }));
  return {
    program,
    argv: [
      "cloud-hypervisor",
      "--kernel",
      "/kernel",
      "--cmdline",
      boot.bootLine,
      ...(initrd === undefined ? [] : ["--initramfs", "/initrd"]),
      "--memory",
      `size=${Math.floor(machine.memoryBytes / mebibyte)}M${shared ? ",shared=on" : ""}`,
      "--cpus",
      `boot=${machine.vcpus}`,
      "--serial",
      "tty",
      "--console",
      "off",
      "--seccomp",
      "true",
      ...several("--disk", boot.disks.map(diskArgument)),
      ...several("--fs", boot.shares.map(shareArgument)),
      ...several(
        "--net",
        taps.map(({ nic, at }, index) => nicArgument(nic, index, at)),
      ),
      ...(boot.vsock === undefined ? [] : ["--vsock", `cid=${boot.vsock.cid},socket=${vsockPath}`]),
    ],
    env: [],
    opens: [],
    taps: taps.map(({ nic, at }) => ({ name: nic.tap, at, vnetHeader: true })),
    binds: [
      ...needs,
      { from: boot.kernel, at: sandboxPath("/kernel") },
      ...(initrd === undefined ? [] : [{ from: initrd, at: sandboxPath("/initrd") }]),
      ...disks.files,
      ...vsock.binds,
    ],
    devices: [deviceNode("/dev/kvm"), deviceNode("/dev/urandom"), ...disks.devices],
    files: [],
    helpers: boot.shares.map((share, index) => shareServer(share, server, { path: socketPath(index) })),
    // The guest's memory, which the servers of files map.
    ...(shared ? { memoryFileBytes: machine.memoryBytes } : {}),
    scratchBytes: vsock.scratchBytes,
    seccomp: cloudHypervisorSeccomp({ connects: shared, calls: boot.vsock !== undefined }),
    stop: { signal: 15, deadlineMs: 5000 },
    overheadBytes: overheadBytes(machine),
  };
}

function check(boot: RenderInput["boot"], { memoryBytes, vcpus }: Machine): void {
  if (memoryBytes < mebibyte)
    throw new TripodError(
      "memory-too-small",
      `Cloud Hypervisor's guests need at least 1 MiB of memory, ${formatBytes(memoryBytes)} was asked for`,
      { hint: "-m 16m" },
    );
  if (vcpus < 1 || vcpus > maxVcpus)
    throw new TripodError("no-fit", `${vcpus} processors were asked for, a guest has 1 to ${maxVcpus}`);
  const devices =
    boot.disks.length + boot.nics.length + boot.shares.length + (boot.vsock === undefined ? 0 : 1);
  if (devices > maxDevices)
    throw new TripodError(
      "no-fit",
      `the guest has ${devices} devices, Cloud Hypervisor has ${maxDevices} slots for them`,
    );
  const byNine = boot.shares.find(({ kind }) => kind !== "virtiofs");
  if (byNine !== undefined)
    throw new TripodError("no-fit", `Cloud Hypervisor cannot give a guest a directory by ${byNine.kind}`);
  const unsayable = boot.shares.find(({ tag }) => !/^[\w.-]+$/.test(tag));
  if (unsayable !== undefined)
    throw new TripodError(
      "no-fit",
      `Cloud Hypervisor cannot be told the tag ${JSON.stringify(unsayable.tag)}`,
    );
  const odd = boot.disks.find(({ sectorBytes = 512 }) => sectorBytes !== 512);
  if (odd !== undefined)
    throw new TripodError(
      "no-fit",
      `the disk ${odd.name} has sectors of ${odd.sectorBytes} bytes, Cloud Hypervisor's have those of the file`,
    );
}

/** One option takes all values; given twice, only the last would count. */
const several = (option: string, values: readonly string[]): string[] =>
  values.length === 0 ? [] : [option, ...values];

/** `raw` (since 52): what a guest writes into its disk is never read as a format that names other files. */
const diskArgument = ({ readonly }: Disk, index: number): string =>
  `path=${diskPath(index)},readonly=${readonly ? "on" : "off"},id=disk${index},image_type=raw`;

const shareArgument = ({ tag }: Share, index: number): string =>
  `tag=${tag},socket=${socketPath(index)},num_queues=1,queue_size=1024,id=share${index}`;

const nicArgument = ({ mac }: Nic, index: number, at: number): string =>
  `fd=[${at}],mac=${mac},id=net${index}`;
