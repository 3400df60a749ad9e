/** What a monitor driver is: its features, what its program needs on disk, and a pure rendering of a described guest to a `Launch`. */

import { type HostPath, type SandboxPath, hostPath, sandboxPath } from "../spec/paths.ts";
import type { MonitorFeatures } from "../spec/support.ts";
import type { Arch, BindNeed, Disk, GuestKind, Launch, Machine, MonitorBoot } from "../spec/values.ts";

export interface RenderInput {
  readonly guest: GuestKind;
  readonly boot: MonitorBoot;
  readonly machine: Machine;
  readonly program: HostPath;
  /** Shared libraries, modules and data files that `ProgramNeeds` asked for, as found on this host, those that hold code marked executable. */
  readonly needs: readonly BindNeed[];
  /** virtiofsd, with what it needs as above; absent: there is none here. */
  readonly shareServer?: { readonly program: HostPath; readonly needs: readonly BindNeed[] };
}

/** Files that the program must find in its private root; `host/` looks for them. */
export interface ProgramNeeds {
  /** Whether it needs its interpreter and libraries at their own paths; `as-linked`: if this program is linked dynamically. */
  readonly libraries: boolean | "as-linked";
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
  /** What its program needs to run this kind of guest. */
  readonly needs: (guest: GuestKind, arch: Arch) => ProgramNeeds;
  /** How it comes by the kernel and the initrd: as an open fd, or by path, as the sandbox's unprivileged user. */
  readonly opensKernel: "fd" | "path";
  /** What its own exit statuses say, where they say more than that it failed. */
  readonly exitMeanings?: Readonly<Record<number, string>>;
  /** Bytes of memory that it takes beside the guest's own. */
  readonly overheadBytes: (machine: Machine) => number;
  /** Renders. Throws `memory-too-small`, `memory-invalid` or `no-fit` for a machine that it cannot make. */
  readonly render: (input: RenderInput) => Launch;
}

/** A device node at its own place. */
export const deviceNode = (path: string): BindNeed => ({ from: hostPath(path), at: sandboxPath(path) });

/** Disks that a monitor opens by path: a file is bound, a block device is a node of its own. */
export function disksByPath(
  disks: readonly Disk[],
  pathOf: (index: number) => SandboxPath,
): { readonly files: readonly BindNeed[]; readonly devices: readonly BindNeed[] } {
  const needs = disks.map(({ path, readonly, device }, index) => ({
    isDevice: device === true,
    need: { from: path, at: pathOf(index), ...(readonly ? {} : { writable: true as const }) },
  }));
  return {
    files: needs.flatMap(({ isDevice, need }) => (isDevice ? [] : [need])),
    devices: needs.flatMap(({ isDevice, need }) => (isDevice ? [need] : [])),
  };
}

/** Where a monitor that ends a vsock in sockets listens for the host, which never calls; the host's socket for a port lies beside it. */
export const vsockPath = sandboxPath("/tmp/vsock");

/** What such a vsock needs in the private root: the one socket, and a page in which the monitor makes its own. */
export const vsockNeeds = ({ vsock }: MonitorBoot): Pick<Launch, "binds" | "scratchBytes"> =>
  vsock?.socket === undefined
    ? { binds: [], scratchBytes: 0 }
    : { binds: [{ from: vsock.socket, at: sandboxPath(`${vsockPath}_${vsock.port}`) }], scratchBytes: 4096 };

export const mebibyte = 1024 * 1024;
