/** What a guest driver is: a record that turns a workload into a `GuestBoot`. It never speaks a monitor's language. */

import type { HostPath } from "../spec/paths.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { Disk, GuestBoot, GuestKind, MonitorKind, Offer } from "../spec/values.ts";

export interface GuestInput {
  readonly offer: Extract<Offer, { mode: "unikernel" }>;
  readonly kernel: HostPath;
  readonly initrd?: HostPath;
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
  readonly disks: readonly Disk[];
}

export interface GuestDriver {
  readonly kind: GuestKind;
  /** The boot line when the image states none; see `boot-line.ts`. */
  readonly defaultBootLine: string;
  /** Bytes of the longest boot line that every monitor of this guest carries. */
  readonly maxBootLineBytes: number;
  /** Describes the guest. Throws `usage`, `annotation-invalid` or `kernel-invalid`. */
  readonly boot: (input: GuestInput) => GuestBoot;
}
