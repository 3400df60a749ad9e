/** All content of an image that lies in the store. */

import { TripodError } from "../spec/errors.ts";
import { type Descriptor, decodeIndex, decodeManifest, documentKind } from "../spec/oci.ts";
import type { Store } from "./store.ts";

/**
 * The documents and blobs that are reached from a descriptor, each once. Manifests of an index that were not pulled are left out. Throws
 * `image-corrupt` when the root, a config or a layer is missing.
 */
export function reachable(store: Store, root: Descriptor): readonly Descriptor[] {
  const found = new Map<string, Descriptor>();
  const visit = (descriptor: Descriptor): void => {
    if (found.has(descriptor.digest)) return;
    const kind = documentKind(descriptor.mediaType);
    if (kind === undefined) {
      if (!store.has(descriptor)) throw missing(descriptor);
      found.set(descriptor.digest, descriptor);
      return;
    }
    const bytes = store.readDocument(descriptor, descriptor.digest);
    if (bytes === undefined) {
      if (descriptor === root) throw missing(descriptor);
      return;
    }
    found.set(descriptor.digest, descriptor);
    if (kind === "index") decodeIndex(bytes, descriptor.digest).manifests.forEach(visit);
    else {
      const manifest = decodeManifest(bytes, descriptor.digest);
      [manifest.config, ...manifest.layers].forEach(visit);
    }
  };
  visit(root);
  return [...found.values()];
}

const missing = ({ digest }: Descriptor): TripodError =>
  new TripodError("image-corrupt", `${digest} is not in the store`, { hint: "pull or load the image again" });
