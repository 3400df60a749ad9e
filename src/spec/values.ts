/** The values that flow from an image and a wish to a plan (docs/ARCHITECTURE.md walks through them). All plain readonly data. */

import type { Base64, Channel, Credentials, Limits, Mac, PortMapping, StopMeans } from "./plan.ts";
import type { HostPath, SandboxPath, UntrustedPath } from "./paths.ts";
import type { SeccompProfile } from "./seccomp.ts";

/** `sha256:` and 64 hex digits. */
export type Digest = `sha256:${string}`;

export const modes = ["container", "microvm", "unikernel"] as const;
export type Mode = (typeof modes)[number];

export const arches = ["amd64", "arm64"] as const;
/** GOARCH spelling. */
export type Arch = (typeof arches)[number];

/** Names follow urunc's `hypervisor` key. */
export const monitorKinds = ["hvt", "spt", "qemu", "firecracker", "cloud-hypervisor"] as const;
export type MonitorKind = (typeof monitorKinds)[number];

/** Names follow urunc's `unikernelType` key; `solo5` and `pvh` are plain binaries of those ABIs. */
export const guestKinds = [
  "solo5",
  "pvh",
  "linux",
  "unikraft",
  "rumprun",
  "mirage",
  "mewz",
  "hermit",
] as const;
export type GuestKind = (typeof guestKinds)[number];

export const ociRuntimeKinds = ["runc", "crun"] as const;
export type OciRuntimeKind = (typeof ociRuntimeKinds)[number];

/** One way an image says that it can run. `manifest` is the image manifest that holds its files. */
export type Offer =
  | { readonly mode: "container"; readonly arch: Arch; readonly manifest: Digest }
  | {
      readonly mode: "unikernel";
      readonly arch: Arch;
      readonly manifest: Digest;
      readonly guest: GuestKind;
      /** In the image's order of preference. */
      readonly monitors: readonly MonitorKind[];
      /** Path of the kernel in the image's root file system. */
      readonly kernel: UntrustedPath;
      readonly initrd?: UntrustedPath;
      /** A template, see `guest/boot-line.ts`; absent: the guest kind's own. */
      readonly bootLine?: string;
      /** Arguments when neither the user nor the image's config gives any (urunc's `cmdline`). */
      readonly args?: readonly string[];
      /** Bytes below which the guest does not run; absent: not known. */
      readonly minMemoryBytes?: number;
      /** Names of Solo5 network and block devices, where the image states them. */
      readonly netDevices?: readonly string[];
      readonly blockDevices?: readonly string[];
      /** Version of the guest's own system, where its boot line differs by it (urunc's `unikernelVersion`). */
      readonly version?: string;
      /** A disk image in the image's root file system, and where the guest mounts it; at `/` it is the guest's root. */
      readonly disk?: { readonly path: UntrustedPath; readonly mountPoint: string };
      /** The image's root file system itself becomes the guest's root, as a disk or a share (urunc's `mountRootfs`). */
      readonly mountRootfs?: true;
      /** An accelerator of the host that the guest calls by vsock; see `spec/annotations.ts`. */
      readonly vaccel?: { readonly port: number; readonly socketDir?: HostPath };
    };

/** What a guest was seen to do under KVM: nothing, a few instructions, or all that Linux needs. */
export type Kvm = "none" | "tiny" | "linux";

/** A program that was looked for: where it is, or why it does not count. */
export type Found = { readonly path: HostPath; readonly version: string } | { readonly missing: string };

/** What this node can do, probed ahead and cached by boot id and the programs' inodes. */
export interface Facts {
  readonly arch: Arch;
  readonly kernelRelease: string;
  readonly kvm: { readonly can: Kvm; readonly evidence: string };
  readonly monitors: Readonly<Record<MonitorKind, Found>>;
  /** In the order tried; `missing` also when the probe container failed. */
  readonly ociRuntimes: Readonly<Record<OciRuntimeKind, Found>>;
  readonly cgroups: "v1" | "v2" | "hybrid" | "none";
  readonly tun: boolean;
  readonly overlay: boolean;
  /** Directories that hold the CNI plugins bridge, host-local, portmap and firewall; empty if any is missing. */
  readonly cniPluginDirs: readonly HostPath[];
  readonly userNamespaces: boolean;
  /** Bytes of memory in the machine. */
  readonly memoryBytes: number;
  readonly cpus: number;
}

/** What the user asks for with `run`. */
export interface Wish {
  readonly mode: Mode | "auto";
  readonly monitor?: MonitorKind;
  readonly arch?: Arch;
  /** Guest memory in bytes (unikernel) or limit (container). */
  readonly memoryBytes?: number;
  /** Fractions allowed, as docker's `--cpus`. */
  readonly cpus?: number;
  /** The flag that was given and that only a container can honour, e.g. `-v`. */
  readonly containerOnly?: string;
}

/** The operator's rules, from the config file. */
export interface Policy {
  /** Preferred order; a mode left out is forbidden. */
  readonly order: readonly PolicyChoice[];
  /** Whether a machine may be emulated in software (QEMU without KVM) when nobody asked for it. */
  readonly allowEmulation: boolean;
  /** Demands on images by name, in any spelling; first match wins; `*` matches any run of characters. */
  readonly demands: readonly PolicyDemand[];
}

/** A mode, or a mode by one monitor, e.g. `unikernel/spt`. */
export type PolicyChoice = Mode | `unikernel/${MonitorKind}` | `microvm/${MonitorKind}`;

export interface PolicyDemand {
  readonly image: string;
  readonly modes: readonly Mode[];
}

/** Why an offer does not run by a monitor here. `select/reasons.ts` holds a sentence for each code. */
export type Reason = { readonly code: string; readonly subject: string; readonly remedy?: string };

export type Verdict = { readonly offer: Offer; readonly by: MonitorKind | OciRuntimeKind } & (
  | {
      readonly fits: true;
      /** 0 is best. */
      readonly rank: number;
      /** Hardware virtualisation, process confinement, or emulation. */
      readonly speed: "hardware" | "process" | "emulated";
    }
  | { readonly fits: false; readonly because: Reason }
);

export type FittingVerdict = Extract<Verdict, { fits: true }>;

/** The whole answer of `select`: every offer by every monitor, and the chosen one if any. */
export interface Decision {
  readonly verdicts: readonly Verdict[];
  readonly chosen: FittingVerdict | undefined;
}

/** A network device of a guest, as the namespace's interface is. */
export interface Nic {
  /** Name the guest knows the device by (Solo5 manifest name), or `eth0`. */
  readonly name: string;
  /** The plan's name of the tap's fd. */
  readonly tap: string;
  readonly mac: Mac;
  readonly mtu: number;
}

export interface Disk {
  readonly name: string;
  readonly path: HostPath;
  readonly readonly: boolean;
  readonly sectorBytes?: number;
  /** It is a block device; absent: a file. */
  readonly device?: true;
}

export const shareKinds = ["9p", "virtiofs"] as const;
export type ShareKind = (typeof shareKinds)[number];

/** A directory of the host that the guest mounts by its tag. */
export interface Share extends SharedTree {
  readonly kind: ShareKind;
  readonly tag: string;
}

/** A directory of the host that a guest is given, with what is mounted in it for this guest only. */
export interface SharedTree {
  readonly path: HostPath;
  /** Of the directory without its volumes. */
  readonly readonly: boolean;
  /** In the order in which they are mounted. */
  readonly volumes?: readonly Volume[];
}

/** A file or directory of the host that a guest finds in its root. */
export interface Volume {
  readonly from: HostPath;
  /** Absolute in the guest; links in it are the root's. */
  readonly at: SandboxPath;
  readonly readonly: boolean;
  /** With what is mounted beneath it on the host. */
  readonly recursive: boolean;
}

/** Whether a guest can write nothing of it. */
export const isReadonlyTree = ({ readonly, volumes = [] }: SharedTree): boolean =>
  readonly && volumes.every((volume) => volume.readonly);

/** Where a guest's root file system comes from; `none`: it lives in its kernel. */
export type GuestRoot =
  | { readonly kind: "none" }
  | { readonly kind: "initrd"; readonly path: HostPath }
  | { readonly kind: "disk"; readonly disk: Disk; readonly fileSystem?: string }
  | ({ readonly kind: ShareKind } & SharedTree);
export type RootKind = GuestRoot["kind"];

/** One part of an initrd: a file of the host as it is, or bytes that we made. */
export type InitrdPart = { readonly path: HostPath } | { readonly content: Base64 };

/** A file of the host whose size was looked up, so that an archive's header can state it. */
export interface HostFile {
  readonly path: HostPath;
  readonly sizeBytes: number;
}

/** A file that the guest finds in its root besides the image's own. */
export interface GuestFile {
  /** Absolute in the guest, clean. */
  readonly at: string;
  /** Permission bits. */
  readonly mode: number;
  readonly content: Base64 | HostFile;
  /** On a share it belongs to the monitor's user, so that its mode can keep it from all but the guest's root. Of a `Base64` content only. */
  readonly secret?: true;
}

/** What a guest needs to boot, in nobody's command-line language. */
export interface GuestBoot {
  readonly kernel: HostPath;
  /** Joined in this order, each part on a boundary of 4 bytes, to the one initrd that the monitor loads; empty: none. */
  readonly initrd: readonly InitrdPart[];
  readonly bootLine: string;
  /** The root, where it is a disk, comes first. */
  readonly disks: readonly Disk[];
  readonly nics: readonly Nic[];
  readonly shares: readonly Share[];
  /** Put into the sandbox's own tree, which is the guest's root, before the monitor is started: directories, then files. */
  readonly rootDirectories?: readonly string[];
  readonly rootFiles?: readonly GuestFile[];
  readonly vsock?: Vsock;
}

/** A guest's vsock, by which it calls one port of the host. */
export interface Vsock {
  /** The guest's own address, which no other guest of this host has. */
  readonly cid: number;
  readonly port: number;
  /** The host's socket behind that port; absent: whoever listens to the host kernel's. */
  readonly socket?: HostPath;
}

/** A described guest as a monitor is given it: its initrd lies in one file. */
export type MonitorBoot = Omit<GuestBoot, "initrd" | "rootDirectories" | "rootFiles"> & {
  readonly initrd?: HostPath;
};

/** The size of the machine and how it is accelerated. */
export interface Machine {
  readonly arch: Arch;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly kvm: boolean;
}

/** A file that the monitor must be able to open by path in its private root. */
export interface BindNeed {
  readonly from: HostPath;
  readonly at: SandboxPath;
  /** Absent: read-only. */
  readonly writable?: true;
  /** Absent: noexec, which also forbids mapping it executable. */
  readonly executable?: true;
  /** With what is mounted beneath it. */
  readonly recursive?: true;
  /** Mounted in it; see the plan's step `bind`. */
  readonly volumes?: readonly Volume[];
}

/** A program beside the monitor that serves it by a socket; see the plan's step `helper`. */
export interface HelperNeed {
  readonly program: HostPath;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** The fd number of its listening socket. */
  readonly listensAt: number;
  /** How the monitor comes to it: by a connected fd at a number, or by the socket at a path. */
  readonly reached: { readonly at: number } | { readonly path: SandboxPath };
  readonly binds: readonly BindNeed[];
  readonly proc: boolean;
  readonly openFiles: number;
  readonly seccomp: SeccompProfile;
}

/** How one monitor program is started and stopped, and nothing else. Rendered purely; `mode/` makes a plan of it. */
export interface Launch {
  readonly program: HostPath;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  /** Host files opened beforehand and given at fd numbers from 3 on; argv refers to them by number. */
  readonly opens: readonly {
    readonly name: string;
    readonly path: HostPath;
    readonly write: boolean;
    readonly at: number;
  }[];
  /** Taps, each given at an fd number, or opened by its name where there is none. `vnetHeader`: see the plan's step `tap`. */
  readonly taps: readonly { readonly name: string; readonly at?: number; readonly vnetHeader?: true }[];
  readonly binds: readonly BindNeed[];
  /** Device nodes that the program opens by path. */
  readonly devices: readonly BindNeed[];
  readonly files: readonly { readonly at: SandboxPath; readonly content: Base64 }[];
  readonly helpers: readonly HelperNeed[];
  /** Needs /proc: it reaches its own descriptors by path there. */
  readonly proc?: true;
  /** Bytes of the largest file in memory that it makes for itself; absent: none. */
  readonly memoryFileBytes?: number;
  /** The most files that it has open at once; absent: 256. */
  readonly openFiles?: number;
  /** See the plan's step `spawn`. */
  readonly exitCodes?: readonly (readonly [status: number, exitCode: number])[];
  /** Scratch space, bytes of tmpfs at /tmp, mounted before all else; 0: none. */
  readonly scratchBytes: number;
  /** The system calls allowed, or undefined when the program confines itself before the guest runs. */
  readonly seccomp: SeccompProfile | undefined;
  readonly stop: StopMeans;
  /** Where it says that its guest runs; absent: it runs when its program does. */
  readonly channel?: Channel;
  /** Bytes of memory the monitor needs besides the guest's own. */
  readonly overheadBytes: number;
}

/** Everything decided about one sandbox before anything is done; stored as `sandbox.json`, written once by the brain. */
export interface SandboxFile {
  readonly version: 1;
  readonly id: string;
  readonly namespace: string;
  readonly name: string;
  /** The reference as the user gave it, and the manifest that was chosen. */
  readonly image: { readonly reference: string; readonly manifest: Digest; readonly index?: Digest };
  readonly mode: Mode;
  readonly monitor: MonitorKind | OciRuntimeKind;
  readonly reason: string;
  readonly createdAt: string;
  readonly command: readonly string[];
  readonly ports: readonly PortMapping[];
  readonly network: string;
  /** First IPv4 address without prefix; filled once the network stands. */
  readonly address?: string;
  readonly limits: Limits;
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly credentials?: Credentials;
  readonly labels: Readonly<Record<string, string>>;
  readonly terminal: boolean;
  readonly removeOnExit: boolean;
}
