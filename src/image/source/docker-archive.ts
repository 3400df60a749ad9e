/** Archives of `docker save` from before it wrote OCI layouts, and of skopeo's `docker-archive:`: `manifest.json`, configs and layer tars. */

import * as v from "valibot";
import { digestOf } from "../../spec/digest.ts";
import { TripodError } from "../../spec/errors.ts";
import {
  type Descriptor,
  decodeConfig,
  decodeDocument,
  maxDocumentBytes,
  mediaTypes,
} from "../../spec/oci.ts";
import { canonicalName, parseReference } from "../../spec/reference.ts";
import type { Store } from "../store.ts";
import type { FileTree } from "./file-tree.ts";

const name = v.pipe(v.string(), v.maxLength(4096));
const manifestSchema = v.pipe(
  v.array(
    v.object({
      Config: name,
      RepoTags: v.optional(v.array(name), []),
      Layers: v.pipe(v.array(name), v.maxLength(512)),
    }),
  ),
  v.maxLength(1024),
);

export interface DockerArchiveImage {
  /** Canonical names. */
  readonly names: readonly string[];
  readonly config: string;
  readonly layers: readonly string[];
}

/** The images of the archive; undefined when it is none. Throws `image-invalid`. */
export async function readDockerArchive(tree: FileTree): Promise<readonly DockerArchiveImage[] | undefined> {
  const bytes = await tree.read("manifest.json", maxDocumentBytes);
  if (bytes === undefined) return undefined;
  return decodeDocument(manifestSchema, bytes, `${tree.subject}: manifest.json`).map((entry) => ({
    names: entry.RepoTags.map((tag) => canonicalName(parseReference(tag))),
    config: entry.Config,
    layers: entry.Layers,
  }));
}

const maxLayerBytes = 64 * 1024 ** 3;

/**
 * Puts one image into the store as an OCI image with the archive's own config bytes, so that its id stays. The caller holds a lease. Returns
 * the manifest's descriptor. Throws `image-corrupt` for a missing or altered layer.
 */
export async function ingestDockerImage(
  store: Store,
  tree: FileTree,
  image: DockerArchiveImage,
): Promise<Descriptor> {
  const configBytes = await tree.read(image.config, maxDocumentBytes);
  if (configBytes === undefined) throw missing(tree, image.config);
  const { rootfs } = decodeConfig(configBytes, `${tree.subject}: ${image.config}`);
  if (rootfs.diff_ids.length !== image.layers.length)
    throw new TripodError(
      "image-invalid",
      `${tree.subject} has ${image.layers.length} layers, but its config names ${rootfs.diff_ids.length}`,
    );
  const layers: Descriptor[] = [];
  for (const [index, layer] of image.layers.entries()) {
    const descriptor = await ingestLayer(store, tree, layer);
    // A compressed layer is checked when it is unpacked.
    if (descriptor.mediaType === mediaTypes.layer && descriptor.digest !== rootfs.diff_ids[index])
      throw new TripodError(
        "image-corrupt",
        `${tree.subject}: ${JSON.stringify(layer.slice(0, 200))} has digest ${descriptor.digest} instead of ${rootfs.diff_ids[index]}`,
        { hint: "make the archive again" },
      );
    layers.push(descriptor);
  }
  const config = await put(store, mediaTypes.config, configBytes);
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers };
  return put(store, mediaTypes.manifest, Buffer.from(JSON.stringify(manifest)));
}

async function put(store: Store, mediaType: string, bytes: Buffer): Promise<Descriptor> {
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  await store.put(bytes, descriptor, mediaType);
  return descriptor;
}

async function ingestLayer(store: Store, tree: FileTree, layer: string): Promise<Descriptor> {
  const stream = await tree.stream(layer, 0);
  if (stream === undefined) throw missing(tree, layer);
  const writer = await store.begin();
  try {
    let mediaType: string | undefined;
    const sniffed = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of stream) {
        mediaType ??= layerType(chunk);
        yield chunk;
      }
    };
    await writer.writeAll(sniffed(), maxLayerBytes, `${tree.subject}: ${layer}`);
    return { mediaType: mediaType ?? mediaTypes.layer, ...(await writer.commitAny()) };
  } finally {
    await writer.discard();
  }
}

function layerType(start: Uint8Array): string {
  const magic = Buffer.from(start.subarray(0, 4)).toString("hex");
  if (magic.startsWith("1f8b")) return mediaTypes.layerGzip;
  return magic === "28b52ffd" ? mediaTypes.layerZstd : mediaTypes.layer;
}

const missing = (tree: FileTree, file: string): TripodError =>
  new TripodError("image-corrupt", `${tree.subject}: ${JSON.stringify(file.slice(0, 200))} is missing`, {
    hint: "make the archive again",
  });
