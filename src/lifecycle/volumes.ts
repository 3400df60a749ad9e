/**
 * Files and directories of the host that a guest finds in its root. A root that is a directory of the host has them mounted in it, as a container has; into an
 * initrd files are copied; every other guest cannot have them, and what somebody asked for is then refused. Only what engines give every container is passed
 * over: the guest does without.
 */

import { guestDriver } from "../guest/index.ts";
import { TripodError } from "../spec/errors.ts";
import type { GuestFile, GuestKind, GuestRoot, Volume } from "../spec/values.ts";

export interface HostVolume extends Volume {
  /** Absent: it is no regular file. */
  readonly file?: { readonly mode: number; readonly sizeBytes: number };
}

/** Bytes of a file that is copied into an initrd: configurations and secrets, not data. */
const maxFileBytes = 1 << 20;

/** Where a guest mounts file systems of its own: what lay there would never be seen. */
const isGuestsOwn = (at: string): boolean => /^\/(dev|proc|sys)(\/|$)/.test(at);

/** What engines mount in every container without being asked. */
const ofEngines = new Set([
  ...["hostname", "hosts", "resolv.conf", "localtime", "mtab", "passwd", "group"].map(
    (name) => `/etc/${name}`,
  ),
  "/run/.containerenv",
  "/run/secrets",
  "/run/secrets/kubernetes.io/serviceaccount",
  "/var/run/secrets/kubernetes.io/serviceaccount",
]);

export interface Placed {
  readonly root: GuestRoot;
  /** Copied into the root. */
  readonly files: readonly GuestFile[];
}

/** Gives the volumes to a guest's root. Throws `no-fit` for one that this cannot have. */
export function withVolumes(root: GuestRoot, volumes: readonly HostVolume[], guest: GuestKind): Placed {
  const seen = volumes.filter(({ at }) => !isGuestsOwn(at));
  if (root.kind === "9p" || root.kind === "virtiofs") {
    const mounted = seen.map(({ file: _file, ...volume }) => volume);
    return { root: mounted.length === 0 ? root : { ...root, volumes: mounted }, files: [] };
  }
  const copies = root.kind === "initrd" && guestDriver(guest)?.carries.files === true;
  return {
    root,
    files: seen.flatMap((volume) => {
      const { from, at, file } = volume;
      if (copies && file !== undefined && file.sizeBytes <= maxFileBytes)
        return [{ at, mode: file.mode, content: { path: from, sizeBytes: file.sizeBytes } }];
      if (ofEngines.has(at)) return [];
      throw refused(volume, guest, copies);
    }),
  };
}

function refused({ from, at, file }: HostVolume, guest: GuestKind, copies: boolean): TripodError {
  const why =
    file !== undefined && copies
      ? `has ${file.sizeBytes} bytes, ${maxFileBytes} are the most that are copied into an initrd`
      : copies
        ? "is a directory, and the guest's root is an initrd, into which only files are copied"
        : `cannot be had by a ${guest} guest whose root is no directory of the host`;
  return new TripodError("no-fit", `the volume ${at} (${from}) ${why}`, {
    hint: "leave it out, or build the image with mountRootfs and without an initrd or a disk for /",
  });
}
