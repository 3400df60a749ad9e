/** Images to an archive: an OCI layout in a tar, with docker's `manifest.json` beside it, so that `docker load` of any age takes it. */

import { createReadStream } from "node:fs";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { TripodError } from "../spec/errors.ts";
import { type Descriptor, mediaTypes } from "../spec/oci.ts";
import { canonicalJson } from "./build.ts";
import { type Image, findImage } from "./image.ts";
import { canonicalName, parseReference } from "../spec/reference.ts";
import { blobFile } from "./source/layout.ts";
import { type Store, containerdNameKey, refNameKey } from "./store.ts";
import { type TarFile, writeTar } from "./tar-write.ts";
import { reachable } from "./reachable.ts";

/**
 * Writes images to `sink`, which is ended. The same images give the same bytes. Parts of an index that were not pulled are left out; the
 * index still names them. Throws `image-not-found`, `image-corrupt` when a layer is missing.
 */
export async function saveImages(
  store: Store,
  references: readonly string[],
  sink: Writable,
  signal?: AbortSignal,
): Promise<void> {
  const lease = await store.lease(signal);
  try {
    const images = references.map((reference) => {
      const image = findImage(store, reference);
      if (image !== undefined) return { name: canonicalName(parseReference(reference)), image };
      throw new TripodError("image-not-found", `${reference} is not in the store`, { hint: "tripod images" });
    });
    const roots = images.map(({ name }) => rootOf(store, name));
    const files = new Map<string, TarFile>();
    for (const root of roots)
      for (const blob of reachable(store, root))
        files.set(blob.digest, {
          path: blobFile(blob),
          mode: 0o644,
          size: blob.size,
          content: () => createReadStream(store.blobPath(blob.digest), { highWaterMark: 1 << 18 }),
        });
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: roots };
    const documents = [
      jsonFile("oci-layout", { imageLayoutVersion: "1.0.0" }),
      jsonFile("index.json", index),
      jsonFile(
        "manifest.json",
        images.flatMap(({ name, image }) => dockerEntry(name, image)),
      ),
    ];
    await pipeline(
      writeTar([...files.values(), ...documents], 0),
      sink,
      signal === undefined ? {} : { signal },
    );
  } finally {
    await lease.release();
  }
}

function rootOf(store: Store, name: string): Descriptor {
  const found = store.find(name);
  if (found === undefined) throw new TripodError("image-not-found", `${name} is not in the store`);
  const tag = parseReference(name).tag;
  const annotations = { [containerdNameKey]: name, [refNameKey]: tag ?? name };
  return { ...found.descriptor, annotations };
}

/** docker's legacy list: one image a name, the plain container where there is one. */
function dockerEntry(name: string, image: Image): readonly object[] {
  const entry =
    image.entries.find(
      ({ descriptor, documents }) => documents !== undefined && descriptor.platform?.os === "linux",
    ) ?? image.entries.find(({ documents }) => documents !== undefined);
  if (entry?.documents === undefined) return [];
  const { config, layers } = entry.documents.manifest;
  const { host, path, tag } = parseReference(name);
  return [
    {
      Config: blobFile(config),
      RepoTags: tag === undefined ? [] : [`${host}/${path}:${tag}`],
      Layers: layers.map(blobFile),
    },
  ];
}

function jsonFile(path: string, value: unknown): TarFile {
  const bytes = Buffer.from(canonicalJson(value));
  return { path, mode: 0o644, size: bytes.byteLength, content: () => [bytes] };
}
