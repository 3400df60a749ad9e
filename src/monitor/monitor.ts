/** What a monitor driver is: its features, what its program needs on disk, and a pure rendering of a described guest to a `Launch`. */

import type { HostPath } from "../spec/paths.ts";
import type { MonitorFeatures } from "../spec/support.ts";
import type { BindNeed, GuestKind, Launch, Machine, MonitorBoot } from "../spec/values.ts";

export interface RenderInput {
  readonly guest: GuestKind;
  readonly boot: MonitorBoot;
  readonly machine: Machine;
  readonly program: HostPath;
  /** Shared libraries, modules and data files that `ProgramNeeds` asked for, as found on this host, those that hold code marked executable. */
  readonly needs: readonly BindNeed[];
}

/** Files that the program must find in its private root; `host/` looks for them. */
export interface ProgramNeeds {
  /** Whether the program is linked dynamically: its interpreter and libraries are needed at their own paths. */
  readonly libraries: boolean;
  /** Each of `names` that is found first in one of `dirs`, bound beneath `at`, or where it was found when `at` is absent. */
  readonly files: readonly {
    readonly names: readonly string[];
    readonly dirs: readonly string[];
    readonly at?: string;
    /** Shared objects: their own libraries are needed too. */
    readonly modules: boolean;
  }[];
}

export interface MonitorDriver {
  readonly features: MonitorFeatures;
  readonly needs: ProgramNeeds;
  /** How it comes by the kernel and the initrd: as an open fd, or by path, as the sandbox's unprivileged user. */
  readonly opensKernel: "fd" | "path";
  /** Bytes of memory that it takes beside the guest's own. */
  readonly overheadBytes: (machine: Machine) => number;
  /** Renders. Throws `memory-too-small`, `memory-invalid` or `no-fit` for a machine that it cannot make. */
  readonly render: (input: RenderInput) => Launch;
}

export const mebibyte = 1024 * 1024;
