/**
 * Unpacked layers at `<lib>/layers/<diffID>`, in the format of overlayfs lower directories. A layer appears by rename, whole or not at all, and
 * never changes afterwards. How it is made: `unpack.ts`.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { hexOf } from "../spec/digest.ts";
import { TripodError } from "../spec/errors.ts";
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  type LayerCompression,
  layerCompression,
} from "../spec/oci.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import type { Store } from "./store.ts";

export interface UnpackOptions {
  /** `tripod-warden`. */
  readonly warden: HostPath;
  /** Bytes that one unpacked layer may have. Default 32 GiB. */
  readonly maxBytes?: number;
  /** Entries that one layer may have. Default 2 000 000. */
  readonly maxEntries?: number;
  /** Milliseconds for one layer, waiting for another process that unpacks it included. Default 15 minutes. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** A layer's blob, and what it must unpack to. */
export interface LayerPair {
  readonly layer: Descriptor;
  readonly diffId: Digest;
  readonly compression: LayerCompression;
}

/** Overlayfs takes more in its newer form of mounting, but no builder makes more and no engine promises more. */
const maxLayers = 128;

/** The layers of an image, paired with what they must unpack to. Throws `image-invalid` for an image that has none, too many or does not add up. */
export function layerPairs(
  subject: string,
  manifest: ImageManifest,
  config: ImageConfig,
): readonly LayerPair[] {
  const diffIds = config.rootfs.diff_ids;
  if (manifest.layers.length === 0)
    throw new TripodError("image-invalid", `${subject} has no layer, so there is nothing to run in it`, {
      hint: "build the image with at least one file",
    });
  if (manifest.layers.length > maxLayers)
    throw new TripodError(
      "image-invalid",
      `${subject} has ${manifest.layers.length} layers, and no more than ${maxLayers} can be stacked`,
      { hint: "build the image with fewer layers, e.g. buildah build --squash" },
    );
  if (diffIds.length !== manifest.layers.length)
    throw new TripodError(
      "image-invalid",
      `${subject} has ${manifest.layers.length} layers, but its config names ${diffIds.length}`,
    );
  return manifest.layers.map((layer, at) => {
    const compression = layerCompression(layer.mediaType);
    const diffId = diffIds[at];
    if (compression === undefined || diffId === undefined)
      throw new TripodError(
        "image-invalid",
        `${subject}: layer ${layer.digest} has the unknown type ${layer.mediaType}`,
      );
    return { layer, diffId, compression };
  });
}

/** Where a layer lies once it is unpacked. */
export const layerDir = (store: Store, diffId: Digest): HostPath =>
  hostPath(join(store.layersDir, hexOf(diffId)));

/**
 * Unpacks the layers of an image that are not unpacked yet. The caller holds a lease of the store until something that the collection
 * knows of uses them. Returns the directories, topmost first, as overlayfs wants them.
 *
 * Throws `image-invalid`, `image-corrupt` (missing layer, wrong digest), `image-unsafe` (from the warden), `disk-full`,
 * `state-unwritable`, `timeout`; a layer that failed leaves nothing.
 */
export async function ensureUnpacked(
  store: Store,
  subject: string,
  manifest: ImageManifest,
  config: ImageConfig,
  options: UnpackOptions,
): Promise<readonly HostPath[]> {
  const pairs = layerPairs(subject, manifest, config);
  const dirs = pairs.map(({ diffId }) => layerDir(store, diffId));
  for (const [at, pair] of pairs.entries()) {
    // A finished layer is immutable: to see it is enough.
    if (existsSync(dirs[at] ?? "")) continue;
    // Loaded only when there is work: a start from unpacked layers must not pay for it.
    const { unpackOnce } = await import("./unpack.ts");
    await unpackOnce(store, `layer ${at + 1} of ${subject}`, layerDir(store, pair.diffId), pair, options);
  }
  // The same layer twice in one image is one directory, which overlayfs refuses to stack twice; the topmost counts.
  return [...new Set(dirs.toReversed())];
}
