/** Which entries of an index a node could run: what a pull fetches. */

import { type Descriptor, documentKind, normalArch } from "../spec/oci.ts";
import type { Arch } from "../spec/values.ts";
import { isNote, monitorOfToken } from "./offers.ts";

/** Picks the entries of an index to fetch. */
export type Choose = (entries: readonly Descriptor[]) => readonly Descriptor[];

/** All entries that can be understood. */
export const everyEntry: Choose = (entries) =>
  entries.filter((entry) => documentKind(entry.mediaType) !== undefined);

/**
 * What a node of this architecture could run: the first plain `linux` entry (as every puller does; entries for newer variants of the
 * architecture are passed over), every entry with a monitor's token as `os`, and nested indexes. Entries without a platform count only
 * when nothing else fits: they are taken for anything by some tools and for nothing by others.
 */
export function runnableOn(arch: Arch): Choose {
  return (entries) => {
    const candidates = entries.filter(
      (entry) => documentKind(entry.mediaType) !== undefined && !isNote(entry),
    );
    const firstLinux = candidates.find((entry) => isLinux(entry, arch));
    const chosen = candidates.filter(
      (entry) =>
        entry === firstLinux || isUnikernel(entry, arch) || documentKind(entry.mediaType) === "index",
    );
    return chosen.length > 0
      ? chosen
      : candidates.filter((entry) => entry.platform === undefined).slice(0, 1);
  };
}

const plainVariants: Readonly<Record<Arch, readonly (string | undefined)[]>> = {
  amd64: [undefined, "", "v1"],
  arm64: [undefined, "", "v8"],
};

const isLinux = ({ platform }: Descriptor, arch: Arch): boolean =>
  platform?.os === "linux" &&
  normalArch(platform.architecture) === arch &&
  plainVariants[arch].includes(platform.variant);

const isUnikernel = ({ platform }: Descriptor, arch: Arch): boolean =>
  platform !== undefined &&
  monitorOfToken(platform.os) !== undefined &&
  normalArch(platform.architecture) === arch;
