/**
 * A unikernel's workload from a root file system: the kernel found and looked at, its root decided, its disks and shares named. The root file system is a list
 * of directories of the host, whoever put them there: unpacked layers of our store, or the one directory that an engine prepared.
 */

import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { guestDriver } from "../guest/index.ts";
import { rootOf } from "../guest/root.ts";
import type { DeviceMount } from "../host/mounts.ts";
import { findNeeds } from "../host/program-needs.ts";
import { type KernelFacts, checkKernel, inspectKernel } from "../image/elf.ts";
import { findFile } from "../image/find-file.ts";
import { fileOfImage } from "../image/image.ts";
import { linuxImageArch } from "../image/linux-kernel.ts";
import type { UnikernelWorkload } from "../mode/input.ts";
import { monitorDriver, sharesBy } from "../monitor/index.ts";
import type { MonitorDriver } from "../monitor/monitor.ts";
import { shareServerNeeds } from "../monitor/share-server.ts";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, type UntrustedPath, hostPath, statePath, untrustedPath } from "../spec/paths.ts";
import { present } from "../spec/present.ts";
import { resolveUser } from "../spec/users.ts";
import type { Arch, Disk, GuestRoot, HostFile, Machine, MonitorKind, Offer } from "../spec/values.ts";
import { ownNumber } from "./own-number.ts";
import { type HostVolume, withVolumes } from "./volumes.ts";

type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

export interface UnikernelSource {
  /** The sandbox's. */
  readonly id: string;
  readonly offer: UnikernelOffer;
  readonly monitor: MonitorKind;
  /** The monitor's program. */
  readonly program: HostPath;
  readonly machine: Machine;
  /** Of this machine. */
  readonly arch: Arch;
  /** The image's or bundle's name, for people. */
  readonly subject: string;
  /** The directories of the root file system, topmost first. */
  readonly lowers: readonly HostPath[];
  /** Where these lie, or will lie once the ground is prepared, as one tree that is this sandbox's alone. */
  readonly tree: HostPath;
  /** How that tree is made of `lowers`; absent: it stands already. */
  readonly makeTree?: "overlay" | "copy";
  /** The guest must not write to its root. */
  readonly readonlyRoot?: boolean;
  /** The block device that the whole root file system lies on, where it is this sandbox's alone. */
  readonly snapshot?: Snapshot;
  /** Block devices of the host that the guest mounts besides; names of at most 9 bytes, which become serial numbers. */
  readonly mounts?: readonly { readonly disk: Disk; readonly at: string }[];
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly wished?: { readonly args: readonly string[]; readonly env: readonly string[] };
  /** As in an image config, names looked up in the root file system; absent: root. */
  readonly user?: string | { readonly uid: number; readonly gid: number };
  readonly cwd: string;
  /** Files and directories of the host for the guest's root, in their order. */
  readonly volumes?: readonly HostVolume[];
  /** virtiofsd, where there is one. */
  readonly shareServer?: HostPath;
  /** Our own first process, where it is built. */
  readonly init?: HostPath;
  /** Whether the operator lets a run name an accelerator of the host. */
  readonly allowVaccel: boolean;
}

/** A root file system that is mounted at a place of the host from a block device of its own. */
export interface Snapshot extends DeviceMount {
  readonly at: HostPath;
  /** The sandbox's state directory, where what the monitor needs of it is copied to. */
  readonly stateDir: HostPath;
}

/** Serial number of a disk that the image brings besides its root, as urunc names it. */
const extraDisk = "annot_vol";
const rootDisk = "rootfs";
/** The kernel of an image whose file system is taken from the host. */
const kernelCopy = statePath("kernel");

/**
 * Composes. Throws `no-fit` for a root that guest and monitor cannot have, `kernel-invalid` for files that are not there or not what they should be,
 * `image-invalid` for a user that the root file system does not know.
 */
export async function unikernelWorkload(given: UnikernelSource): Promise<UnikernelWorkload> {
  const source = { ...given, lowers: given.lowers.map(realDirectory) };
  const { offer, monitor, program, lowers, subject } = source;
  const driver = monitorDriver(monitor, program);
  if (driver === undefined) throw new TripodError("no-fit", `Tripod cannot drive ${monitor} yet`);
  const vsock = vsockOf(source);
  const { kernel: ownKernel, facts } = kernelOf(source);
  if (driver.opensKernel === "path") {
    refuseUnreadable(ownKernel, `${offer.kernel} of ${subject}`, monitor);
    if (offer.initrd !== undefined)
      refuseUnreadable(fileOfImage(lowers, offer.initrd, subject), `${offer.initrd} of ${subject}`, monitor);
  }
  const { root: plainRoot, mounts, usesTree, taken } = storageOf(source, driver);
  const kernel = taken === undefined ? ownKernel : hostPath(`${taken.stateDir}/${kernelCopy}`);
  const { root, files } = withVolumes(plainRoot, source.volumes ?? [], offer.guest);
  return {
    mode: "unikernel",
    offer,
    monitor,
    machine: source.machine,
    program,
    needs: await findNeeds(program, driver.needs(offer.guest, offer.arch), source.arch),
    kernel,
    resolved: new Set([
      ...[kernel, ...pathsOf(root), ...mounts.map(({ disk }) => disk.path)].filter(isIn(lowers)),
      ...(vsock?.socket === undefined ? [] : [vsock.socket]),
    ]),
    root,
    args: source.args,
    env: [...source.env, ...(vsock === undefined ? [] : [`VACCEL_RPC_ADDRESS=vsock://2:${vsock.port}`])],
    netDevices: facts?.solo5?.netDevices ?? offer.netDevices ?? [],
    blockDevices: facts?.solo5?.blockDevices ?? offer.blockDevices ?? [],
    disks: [],
    mounts: [...mounts, ...(source.mounts ?? [])],
    user: userOf(source),
    cwd: source.cwd === "" ? "/" : source.cwd,
    ...present({
      wished: source.wished,
      files: files.length === 0 ? undefined : files,
      shareServer: await shareServerOf(root, source),
      init: source.init === undefined ? undefined : hostFile(source.init),
      vsock,
      taken:
        taken === undefined ? undefined : { at: taken.at, copies: [{ from: ownKernel, at: kernelCopy }] },
      tree:
        usesTree && source.makeTree !== undefined
          ? { lowers, overlay: source.makeTree === "overlay" }
          : undefined,
    }),
  };
}

/** Links above the root file system are the operator's; those in it are not followed again once a file is found. */
const realDirectory = (path: HostPath): HostPath =>
  existsSync(path) ? hostPath(realpathSync.native(path)) : path;

const isIn =
  (lowers: readonly HostPath[]) =>
  (path: HostPath): boolean =>
    lowers.some((lower) => path === lower || path.startsWith(`${lower}/`));

function pathsOf(root: GuestRoot): HostPath[] {
  if (root.kind === "none") return [];
  return [root.kind === "disk" ? root.disk.path : root.path];
}

/** What the server of a root by virtiofs needs. */
async function shareServerOf(
  { kind }: GuestRoot,
  { shareServer: program, arch }: UnikernelSource,
): Promise<UnikernelWorkload["shareServer"]> {
  if (kind !== "virtiofs" || program === undefined) return undefined;
  return { program, needs: await findNeeds(program, shareServerNeeds, arch) };
}

const hostFile = (path: HostPath): HostFile => ({ path, sizeBytes: statSync(path).size });

function kernelOf({ offer, monitor, lowers, subject }: UnikernelSource): {
  readonly kernel: HostPath;
  /** Undefined: a Linux kernel that is no ELF. */
  readonly facts: KernelFacts | undefined;
} {
  const kernel = fileOfImage(lowers, offer.kernel, subject);
  const name = `the kernel ${offer.kernel} of ${subject}`;
  const linuxArch =
    offer.guest === "linux" || offer.guest === "unikraft" ? linuxImageArch(kernel) : undefined;
  if (linuxArch !== undefined) {
    if (linuxArch !== offer.arch)
      throw new TripodError("kernel-invalid", `${name} is for ${linuxArch}, not for ${offer.arch}`);
    return { kernel, facts: undefined };
  }
  const facts = inspectKernel(kernel, name);
  checkKernel(facts, { arch: offer.arch, abi: abiOf(offer, monitor) }, name);
  return { kernel, facts };
}

/** A monitor that opens its kernel by path does so as the sandbox's own user, whom no image knows. */
function refuseUnreadable(file: HostPath, subject: string, monitor: MonitorKind): void {
  const mode = statSync(file).mode & 0o7777;
  if ((mode & 0o004) !== 0) return;
  throw new TripodError(
    "kernel-invalid",
    `${subject} has the mode 0${mode.toString(8)}, and ${monitor} opens it as an unprivileged user`,
    { hint: "build the image with that file readable for all: mode 0644" },
  );
}

/** A Solo5 kernel is bound to its tender by its ABI; every other is told by its guest kind. */
function abiOf(offer: UnikernelOffer, monitor: MonitorKind): "hvt" | "spt" | "pvh" | "any" {
  if (monitor === "hvt" || monitor === "spt") return monitor;
  return offer.guest === "pvh" ? "pvh" : "any";
}

interface Storage {
  readonly root: GuestRoot;
  readonly mounts: readonly { readonly disk: Disk; readonly at: string }[];
  /** Whether any of it lies in the sandbox's own tree. */
  readonly usesTree: boolean;
  /** Where the root is the device that the root file system lies on. */
  readonly taken?: Snapshot;
}

function storageOf(source: UnikernelSource, { features }: MonitorDriver): Storage {
  const { offer, lowers, subject } = source;
  // A disk in the root file system would go with it.
  const snapshot = offer.disk === undefined ? source.snapshot : undefined;
  const guest = guestDriver(offer.guest);
  if (guest === undefined)
    throw new TripodError("no-fit", `Tripod cannot describe ${offer.guest} guests yet`);
  const choice = rootOf({
    offer,
    guest,
    shares: sharesBy(features.shares, source.shareServer !== undefined),
    ...(snapshot === undefined ? {} : { snapshot: snapshot.fileSystem }),
  });
  if ("because" in choice) throw new TripodError("no-fit", `${subject}: ${choice.because}`);
  const readonly = source.readonlyRoot === true;
  const image = offer.disk;
  const extra =
    image === undefined || choice.disk === "image"
      ? []
      : [{ disk: { name: extraDisk, path: inTree(source, image.path), readonly }, at: image.mountPoint }];
  const root = ((): GuestRoot => {
    switch (choice.kind) {
      case "none":
        return { kind: "none" };
      case "initrd":
        return { kind: "initrd", path: fileOfImage(lowers, offer.initrd ?? untrustedPath(""), subject) };
      case "9p":
      case "virtiofs":
        return { kind: choice.kind, path: source.tree, readonly };
      case "disk": {
        if (choice.disk === "snapshot" && snapshot !== undefined)
          return {
            kind: "disk",
            disk: {
              name: rootDisk,
              path: snapshot.device,
              readonly: readonly || snapshot.readonly,
              device: true,
            },
          };
        const path = inTree(source, image?.path ?? untrustedPath(""));
        return { kind: "disk", disk: { name: rootDisk, path, readonly } };
      }
    }
  })();
  const isShared = root.kind === "9p" || root.kind === "virtiofs";
  return {
    root,
    mounts: extra,
    usesTree: isShared || choice.disk === "image" || extra.length > 0,
    ...(choice.disk === "snapshot" && snapshot !== undefined ? { taken: snapshot } : {}),
  };
}

/** A file of the root file system as it lies in the sandbox's own tree, where writing to it changes no layer. Throws `kernel-invalid`. */
function inTree({ lowers, tree, subject }: UnikernelSource, path: UntrustedPath): HostPath {
  const file = fileOfImage(lowers, path, subject);
  const lower = lowers.find((directory) => file.startsWith(`${directory}/`));
  if (lower === undefined) throw new TripodError("bug", `${file} lies in no layer of ${subject}`);
  return hostPath(`${tree}${file.slice(lower.length)}`);
}

/** passwd and group that are longer are not read. */
const maxUserFileBytes = 4 * 1024 * 1024;

/** A small file of the root file system as text; empty where there is none. */
export function textOf(lowers: readonly HostPath[], path: string): string {
  const file = findFile(lowers, untrustedPath(path));
  return file === undefined || statSync(file).size > maxUserFileBytes ? "" : readFileSync(file, "utf8");
}

function userOf({ user, lowers, offer }: UnikernelSource): { readonly uid: number; readonly gid: number } {
  if (guestDriver(offer.guest)?.carries.user !== true || user === undefined) return { uid: 0, gid: 0 };
  if (typeof user !== "string") return user;
  const { uid, gid } = resolveUser(user, {
    passwd: textOf(lowers, "/etc/passwd"),
    group: textOf(lowers, "/etc/group"),
  });
  return { uid, gid };
}

const vhostVsock = "/dev/vhost-vsock";

/** The way to the accelerator that the run names, where the operator allows one. */
function vsockOf({ id, offer, allowVaccel }: UnikernelSource): UnikernelWorkload["vsock"] {
  const { vaccel, guest } = offer;
  if (vaccel === undefined) return undefined;
  if (!allowVaccel)
    throw new TripodError(
      "no-fit",
      "the run asks for an accelerator of the host, which is not allowed here",
      { hint: "accelerator.vaccel = true in the configuration allows it" },
    );
  if (guestDriver(guest)?.carries.env !== true)
    throw new TripodError(
      "no-fit",
      `${guest} guests take no variables, by one of which they would learn where their accelerator is`,
      { hint: "leave out the annotation com.urunc.unikernel.vAccel" },
    );
  const { port, socketDir } = vaccel;
  const cid = ownNumber(id);
  if (socketDir !== undefined) return { cid, port, socket: agentSocket(`${socketDir}/vaccel.sock_${port}`) };
  if (!existsSync(vhostVsock))
    throw new TripodError("no-fit", `a vsock to the host needs ${vhostVsock}, which is missing`, {
      hint: "modprobe vhost_vsock",
    });
  return { cid, port };
}

/** The real path of an agent's socket, which the monitor connects to as the sandbox's own user, whom the agent does not know. */
function agentSocket(path: string): HostPath {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isSocket() !== true)
    throw new TripodError("no-fit", `no vAccel agent listens at ${path}`, {
      hint: `vaccel-rpc-agent -a unix://${path}`,
    });
  if ((stat.mode & 0o002) === 0)
    throw new TripodError(
      "no-fit",
      `the socket ${path} of the vAccel agent is closed to the monitor, which runs as an unprivileged user`,
      { hint: `chmod o+w ${path}` },
    );
  return hostPath(realpathSync.native(path));
}
