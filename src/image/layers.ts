/**
 * Unpacked layers at `<lib>/layers/<chainID>`, in the format of overlayfs lower directories. A layer appears by rename, whole or not at all, and
 * never changes afterwards. How it is made: `unpack.ts`.
 *
 * The chain id stands for a layer and all below it: a directory that a layer only implies, on the way to a file, has the owner and mode it has in
 * the layers below, so that the same layer becomes another directory on top of others. Images share what they have in common from the bottom up.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { digestOf, hexOf } from "../spec/digest.ts";
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
  readonly chainId: Digest;
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
  const chain = chainIds(diffIds);
  return manifest.layers.map((layer, at) => {
    const compression = layerCompression(layer.mediaType);
    const diffId = diffIds[at];
    const chainId = chain[at];
    if (compression === undefined || diffId === undefined || chainId === undefined)
      throw new TripodError(
        "image-invalid",
        `${subject}: layer ${layer.digest} has the unknown type ${layer.mediaType}`,
      );
    return { layer, diffId, chainId, compression };
  });
}

/** The chain id of every layer, as the OCI image specification defines it. Bottom layer first. */
export function chainIds(diffIds: readonly Digest[]): readonly Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

/** Where a layer lies once it is unpacked. */
const layerDir = (store: Store, chainId: Digest): HostPath => hostPath(join(store.layersDir, hexOf(chainId)));

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
  const lowers: HostPath[] = [];
  for (const [at, pair] of pairs.entries()) {
    const target = layerDir(store, pair.chainId);
    // A finished layer is immutable: to see it is enough.
    if (!existsSync(target)) {
      // Loaded only when there is work: a start from unpacked layers must not pay for it.
      const { unpackOnce } = await import("./unpack.ts");
      await unpackOnce(store, `layer ${at + 1} of ${subject}`, { target, lowers }, pair, options);
    }
    lowers.unshift(target);
  }
  return lowers;
}
