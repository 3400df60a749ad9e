/** Where a guest's root file system comes from: what its image offers, what its kind can use, and what its monitor can give it, in a fixed order. */

import type { Offer, RootKind, ShareKind } from "../spec/values.ts";
import type { GuestDriver } from "./guest.ts";

export interface RootInput {
  readonly offer: Extract<Offer, { mode: "unikernel" }>;
  readonly guest: Pick<GuestDriver, "kind" | "roots" | "fileSystems">;
  /** How the monitor can give a directory to a guest here, its helper programs looked for. */
  readonly shares: readonly ShareKind[];
  /** The file system of the block device that the whole root file system lies on, where it is one of the sandbox's own. */
  readonly snapshot?: string;
}

export type RootChoice =
  | {
      readonly kind: RootKind;
      /** What becomes the root where it is a disk: the image's disk image, or the device that the root file system lies on. */
      readonly disk?: "image" | "snapshot";
    }
  | { readonly because: string };

/**
 * Decides, as urunc does: an initrd; a disk image that is meant for `/`; then, where the image wants its root file system to be the guest's, the device that
 * this lies on, a share by virtiofs, a share by 9p; else none. Something that the image states and its guest cannot use is a reason against it, never passed over.
 */
export function rootOf({ offer, guest, shares, snapshot }: RootInput): RootChoice {
  const takes = (kind: RootKind): boolean => guest.roots.includes(kind);
  if (offer.initrd !== undefined)
    return takes("initrd") ? { kind: "initrd" } : { because: `${guest.kind} guests take no initrd` };
  if (offer.disk?.mountPoint === "/")
    return takes("disk")
      ? { kind: "disk", disk: "image" }
      : { because: `${guest.kind} guests cannot have their root on a disk` };
  if (offer.mountRootfs !== true)
    return takes("none")
      ? { kind: "none" }
      : {
          because: `${guest.kind} guests need ${guest.roots.join(" or ")} for their root, and the image has none`,
        };
  if (snapshot !== undefined && takes("disk") && guest.fileSystems.includes(snapshot))
    return { kind: "disk", disk: "snapshot" };
  const share = (["virtiofs", "9p"] as const).find((kind) => takes(kind) && shares.includes(kind));
  return share === undefined ? { because: againstMount(guest, shares, snapshot) } : { kind: share };
}

function againstMount(
  { kind, roots, fileSystems }: RootInput["guest"],
  shares: readonly ShareKind[],
  snapshot: string | undefined,
): string {
  const ways = [
    ...(["virtiofs", "9p"] as const).filter((share) => roots.includes(share)),
    ...(roots.includes("disk") && fileSystems.length > 0 ? [`a disk with ${fileSystems.join(", ")}`] : []),
  ];
  if (ways.length === 0) return `${kind} guests cannot have the image's root file system`;
  const had = [
    shares.length === 0 ? "no share" : shares.join(" and "),
    snapshot === undefined ? "no disk" : `a disk with ${snapshot}`,
  ];
  return `${kind} guests take the image's root file system by ${ways.join(" or ")}, and here is ${had.join(" and ")}`;
}
