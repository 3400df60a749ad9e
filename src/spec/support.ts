/** What a monitor driver declares about itself. `select` branches on these, never on a monitor's name. */

import type { Arch, GuestKind, MonitorKind, ShareKind } from "./values.ts";

export interface MonitorFeatures {
  readonly kind: MonitorKind;
  /** The guests that it runs, each with the architectures on which it does. */
  readonly guests: Readonly<Partial<Record<GuestKind, readonly Arch[]>>>;
  /**
   * `required`: it cannot run without KVM. `optional`: without a KVM that runs Linux it emulates the machine in software.
   * `unused`: it confines the guest as a process, at the processor's own speed.
   */
  readonly kvm: "required" | "optional" | "unused";
  /** How a network device reaches it: by a tap's fd, by a tap's name, or not at all. */
  readonly taps: "fd" | "name" | "none";
  /** How it can give a guest a directory of the host. */
  readonly shares: readonly ShareKind[];
  /** What the other end of a guest's vsock is: the host's kernel, all of whose ports it reaches, or one socket for one port; absent: it gives none. */
  readonly vsock?: "kernel" | "socket";
}

/** All monitors that Tripod can drive here; a kind that is not listed has no driver. */
export type Supports = readonly MonitorFeatures[];
