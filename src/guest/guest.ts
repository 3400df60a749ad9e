/** What a guest driver is: a record that turns a workload into a `GuestBoot`. It never speaks a monitor's language. */

import type { HostPath } from "../spec/paths.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type {
  Arch,
  Disk,
  GuestBoot,
  GuestKind,
  GuestRoot,
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
  readonly hostname: string;
  readonly monitor: MonitorKind;
  /** What stands in the sandbox's network namespace; undefined or without interfaces: no network. */
  readonly net: NetFacts | undefined;
  /** Names of the network devices that the kernel declares, in its order; the first becomes the namespace's interface. */
  readonly netDevices: readonly string[];
  /** Disks by the names that a Solo5 manifest declares, without the root. */
  readonly disks: readonly Disk[];
  /** Disks that a guest with a mount table mounts, without the root. */
  readonly mounts: readonly { readonly disk: Disk; readonly at: string }[];
  /** Whom the workload in the guest runs as, and where it begins. */
  readonly user: { readonly uid: number; readonly gid: number };
  readonly cwd: string;
}

export interface GuestDriver {
  readonly kind: GuestKind;
  readonly arches: readonly Arch[];
  /** What its root can be, best first. */
  readonly roots: readonly RootKind[];
  /** File systems that it mounts from a disk, by the kernel's names; empty: it mounts none. */
  readonly fileSystems: readonly string[];
  /** What of the wish reaches the workload; the rest is refused when it is given. */
  readonly carries: {
    readonly args: boolean;
    readonly env: boolean;
    readonly ipv6: boolean;
    readonly dns: boolean;
    /** How many network devices it can have. */
    readonly nics: number;
  };
  /** The boot line when the image states none; see `boot-line.ts`. */
  readonly defaultBootLine: string;
  /** Bytes of the longest boot line that every monitor of this guest carries. */
  readonly maxBootLineBytes: number;
  /** Describes the guest. Throws `usage`, `annotation-invalid` or `kernel-invalid`. */
  readonly boot: (input: GuestInput) => GuestBoot;
}
