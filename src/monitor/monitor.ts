/** What a monitor driver is: its features, and a pure rendering of a described guest to a `Launch`. */

import type { HostPath } from "../spec/paths.ts";
import type { MonitorFeatures } from "../spec/support.ts";
import type { BindNeed, GuestBoot, GuestKind, Launch, Machine } from "../spec/values.ts";

export interface RenderInput {
  readonly guest: GuestKind;
  readonly boot: GuestBoot;
  readonly machine: Machine;
  readonly program: HostPath;
  /** Where a `dynamic` program's libraries, modules and firmware are on this host; empty for a static one. */
  readonly needs: readonly BindNeed[];
}

export interface MonitorDriver {
  readonly features: MonitorFeatures;
  /** `dynamic`: its private root must hold the host's libraries; `static`: nothing. */
  readonly linked: "static" | "dynamic";
  /** Bytes of memory that it takes beside the guest's own. */
  readonly overheadBytes: (machine: Machine) => number;
  /** Renders. Throws `memory-too-small`, `memory-invalid` or `no-fit` for a machine that it cannot make. */
  readonly render: (input: RenderInput) => Launch;
}

export const mebibyte = 1024 * 1024;
