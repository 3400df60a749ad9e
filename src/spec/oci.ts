/**
 * The OCI image specification v1.1 (index, manifest, config, descriptors) and docker's schema 2, decoded strictly enough to be
 * safe and loosely enough to read what the field wrote: unknown fields are ignored, `null` means absent (Go writes it), sizes
 * and counts are bounded. Decoders never re-serialise: whoever needs the document's digest keeps its bytes.
 */

import * as v from "valibot";
import { isDigest } from "./digest.ts";
import { TripodError } from "./errors.ts";
import type { Arch, Digest } from "./values.ts";

/** Largest index, manifest or config that is read: registries must accept 4 MiB, and nothing sound is larger. */
export const maxDocumentBytes = 4 * 1024 * 1024;
const maxIndexEntries = 8192;
const maxLayers = 512;

export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  layerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  layerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

/** What a descriptor's document is, by its media type. */
export function documentKind(mediaType: string): "index" | "manifest" | undefined {
  if (mediaType === mediaTypes.index || mediaType === mediaTypes.dockerIndex) return "index";
  if (mediaType === mediaTypes.manifest || mediaType === mediaTypes.dockerManifest) return "manifest";
  return undefined;
}

/** Whether a manifest's config is an image's; an artifact's may be any document. */
export const isImageConfig = (mediaType: string): boolean =>
  mediaType === mediaTypes.config || mediaType === mediaTypes.dockerConfig;

export type LayerCompression = "none" | "gzip" | "zstd";

const layerTypes: Readonly<Record<string, LayerCompression>> = {
  [mediaTypes.layer]: "none",
  [mediaTypes.layerGzip]: "gzip",
  [mediaTypes.layerZstd]: "zstd",
  "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
};

/** How a file-system layer is compressed; undefined when the media type is no file-system layer. */
export const layerCompression = (mediaType: string): LayerCompression | undefined =>
  Object.hasOwn(layerTypes, mediaType) ? layerTypes[mediaType] : undefined;

export type Annotations = Readonly<Record<string, string>>;

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
  readonly "os.version"?: string;
  readonly "os.features"?: readonly string[];
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Annotations;
  readonly artifactType?: string;
}

export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations?: Annotations;
}

export interface ImageManifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Annotations;
}

/** The `config` object of an image config: what a container is started with. Names are the specification's. */
export interface ImageExecution {
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, unknown>>;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Volumes?: Readonly<Record<string, unknown>>;
  readonly WorkingDir?: string;
  readonly Labels?: Annotations;
  readonly StopSignal?: string;
}

export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  readonly created?: string;
  readonly config?: ImageExecution;
  readonly rootfs: { readonly type: "layers"; readonly diff_ids: readonly Digest[] };
}

const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const texts = (max: number) => v.pipe(v.array(text(128 * 1024)), v.maxLength(max));
const annotationsSchema = v.record(text(1024), text(256 * 1024));
const objects = v.record(text(4096), v.unknown());
const digestSchema = v.custom<Digest>(
  (value) => typeof value === "string" && isDigest(value),
  "Invalid digest: only sha256 with 64 hex digits is known",
);

const platformSchema = v.object({
  os: text(128),
  architecture: text(128),
  variant: v.exactOptional(text(128)),
  "os.version": v.exactOptional(text(256)),
  "os.features": v.exactOptional(texts(4096)),
});

const descriptorSchema = v.object({
  mediaType: text(256),
  digest: digestSchema,
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  platform: v.exactOptional(platformSchema),
  annotations: v.exactOptional(annotationsSchema),
  artifactType: v.exactOptional(text(256)),
});

const indexSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.exactOptional(v.picklist([mediaTypes.index, mediaTypes.dockerIndex])),
  manifests: v.pipe(v.array(descriptorSchema), v.maxLength(maxIndexEntries)),
  annotations: v.exactOptional(annotationsSchema),
});

const manifestSchema = v.object({
  schemaVersion: v.literal(2),
  mediaType: v.exactOptional(v.picklist([mediaTypes.manifest, mediaTypes.dockerManifest])),
  artifactType: v.exactOptional(text(256)),
  config: descriptorSchema,
  layers: v.pipe(v.array(descriptorSchema), v.maxLength(maxLayers)),
  annotations: v.exactOptional(annotationsSchema),
});

const executionSchema = v.object({
  User: v.exactOptional(text(1024)),
  ExposedPorts: v.exactOptional(objects),
  Env: v.exactOptional(texts(8192)),
  Entrypoint: v.exactOptional(texts(8192)),
  Cmd: v.exactOptional(texts(8192)),
  Volumes: v.exactOptional(objects),
  WorkingDir: v.exactOptional(text(4096)),
  Labels: v.exactOptional(annotationsSchema),
  StopSignal: v.exactOptional(text(64)),
});

const configSchema = v.object({
  // Old docker images and bima leave these empty or out; what an empty one means is decided by the offers.
  architecture: v.optional(text(128), ""),
  os: v.optional(text(128), ""),
  variant: v.exactOptional(text(128)),
  created: v.exactOptional(text(64)),
  config: v.exactOptional(executionSchema),
  rootfs: v.object({
    type: v.literal("layers"),
    diff_ids: v.optional(v.pipe(v.array(digestSchema), v.maxLength(maxLayers)), []),
  }),
});

/** Reads a bounded JSON document by a schema. Throws `image-invalid`, naming `subject`, the field and what is wrong. */
export function decodeDocument<Schema extends v.GenericSchema>(
  schema: Schema,
  bytes: Uint8Array,
  subject: string,
): v.InferOutput<Schema> {
  if (bytes.byteLength > maxDocumentBytes)
    throw new TripodError("image-invalid", `${subject} is larger than ${maxDocumentBytes} bytes`);
  let value: unknown;
  try {
    // null is absence: Go's tools write it for empty lists and maps.
    value = JSON.parse(utf8.decode(bytes), (_key, inner: unknown) => (inner === null ? undefined : inner));
  } catch (cause) {
    throw new TripodError("image-invalid", `${subject} is not JSON: ${messageOf(cause)}`, { cause });
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new TripodError("image-invalid", `${subject}: ${path === null ? "" : `${path}: `}${issue.message}`);
}

const utf8 = new TextDecoder("utf-8", { fatal: true });
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Decodes an image index or a docker manifest list. Throws `image-invalid`. */
export const decodeIndex = (bytes: Uint8Array, subject: string): ImageIndex =>
  decodeDocument(indexSchema, bytes, subject);

/** Decodes an image manifest, OCI or docker schema 2. Throws `image-invalid`. */
export const decodeManifest = (bytes: Uint8Array, subject: string): ImageManifest =>
  decodeDocument(manifestSchema, bytes, subject);

/** Decodes an image config. Throws `image-invalid`. */
export const decodeConfig = (bytes: Uint8Array, subject: string): ImageConfig =>
  decodeDocument(configSchema, bytes, subject);

const archSpellings: Readonly<Record<string, Arch>> = {
  amd64: "amd64",
  x86_64: "amd64",
  "x86-64": "amd64",
  arm64: "arm64",
  aarch64: "arm64",
};

/** GOARCH spelling of an architecture as images, kraft and uname write it; undefined for those we do not run. */
export const normalArch = (spelling: string): Arch | undefined =>
  Object.hasOwn(archSpellings, spelling) ? archSpellings[spelling] : undefined;
