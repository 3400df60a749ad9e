/** What a guest driver is: a record that turns a workload into a `GuestBoot`. It never speaks a monitor's language. */

import type { HostPath } from "../spec/paths.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type {
  Arch,
  Disk,
  GuestBoot,
  GuestFile,
  GuestKind,
  GuestRoot,
  HostFile,
  MonitorKind,
  Offer,
  RootKind,
} from "../spec/values.ts";

export interface GuestInput {
  readonly offer: Extract<Offer, { mode: "unikernel" }>;
  readonly kernel: HostPath;
  readonly root: GuestRoot;
  /** The command of `run IMAGE ARG…`, or the image's own. */
  readonly args: readonly string[];
  /** `NAME=value` each. */
  readonly env: readonly string[];
  /**
   * What of these the user asked for with this run, where that can be told from what the image brings: it is refused where the guest cannot take it. What only
   * the image brings (a `PATH`, say) is left out there.
   */
  readonly wished?: { readonly args: readonly string[]; readonly env: readonly string[] };
  readonly hostname: string;
  readonly monitor: MonitorKind;
  /** What stands in the sandbox's network namespace; undefined or without interfaces: no network. */
  readonly net: NetFacts | undefined;
  /** Names of the network devices that the kernel declares, in its order; the first becomes the namespace's interface. */
  readonly netDevices: readonly string[];
  /** Names of the block devices that the kernel declares, in its order. */
  readonly blockDevices: readonly string[];
  /** Disks by the names that a Solo5 manifest declares, without the root. */
  readonly disks: readonly Disk[];
  /** Disks that a guest with a mount table mounts, without the root. */
  readonly mounts: readonly { readonly disk: Disk; readonly at: string }[];
  /** Whom the workload in the guest runs as, and where it begins. */
  readonly user: { readonly uid: number; readonly gid: number };
  readonly cwd: string;
  /** Whether a root that is a directory of the host is the sandbox's own, so that files can be added to it. To an initrd they always can. */
  readonly ownsTree: boolean;
  /** Files for its root, where it can be added to. */
  readonly files?: readonly GuestFile[];
  /** Our own first process, for a Linux root that brings none and can be added to. */
  readonly init?: HostFile;
}

export interface GuestDriver {
  readonly kind: GuestKind;
  readonly arches: readonly Arch[];
  /** What its root can be. */
  readonly roots: readonly RootKind[];
  /** File systems that it mounts from a disk, by Linux's names; empty: it mounts none, and a disk is a device to it. */
  readonly fileSystems: readonly string[];
  /** What reaches the workload by the boot line of its kind; `carries.ts` refuses the rest. An image's own template says what it says. */
  readonly carries: {
    /** False: arguments of a run are refused, those of the image left out. */
    readonly args: boolean;
    /** The same for variables. */
    readonly env: boolean;
    /** False: of a network with both families it has IPv4; one without IPv4 is refused. */
    readonly ipv6: boolean;
    /** The network's name servers; false: it has those that it was built with, if any. */
    readonly dns: boolean;
    /** How many network devices it can have. */
    readonly nics: number;
    /** How many disks it can have, its root among them. */
    readonly disks: number;
    /** Whom the workload runs as; false: there is but one user. */
    readonly user: boolean;
    /** Files besides those of its initrd; false: an initrd is what the image says. */
    readonly files: boolean;
  };
  /** Bytes of memory below which no guest of this kind runs. */
  readonly minMemoryBytes?: number;
  /** Bytes of memory that it is given where nobody says; absent: what suits the smallest. */
  readonly usualMemoryBytes?: number;
  /** Bytes of the longest boot line that every monitor of this guest carries. */
  readonly maxBootLineBytes: number;
  /** Describes the guest. Throws `usage`, `annotation-invalid` or `kernel-invalid`. */
  readonly boot: (input: GuestInput) => GuestBoot;
}
