/** An image as `images` and `inspect` show it. The documents are stable: fields are added, never changed. */

import { familiarSpelling } from "../spec/reference.ts";
import type { Store, StoredReference } from "../image/store.ts";
import {
  type Annotations,
  type Descriptor,
  type ImageExecution,
  decodeConfig,
  decodeIndex,
  decodeManifest,
  documentKind,
  isImageConfig,
} from "../spec/oci.ts";

/** One image manifest: one way to run, or a part of an index that tools attached. */
export interface ManifestDocument {
  readonly digest: string;
  /** `linux/amd64`, `spt/amd64`, …; `unknown` where neither index nor config says. */
  readonly platform: string;
  /** Whether manifest, config and all layers are in the store. */
  readonly stored: boolean;
  /** Bytes of config and layers as they are stored, compressed layers compressed. */
  readonly sizeBytes: number;
  readonly created: string | null;
  /** The index entry's and the manifest's own. */
  readonly annotations: Annotations;
  readonly config: ImageExecution;
  readonly layers: readonly {
    readonly digest: string;
    readonly mediaType: string;
    readonly sizeBytes: number;
  }[];
}

/** Version 1, `schema: "tripod.image/1"`. */
export interface ImageDocument {
  readonly schema: "tripod.image/1";
  /** As short as it can be written, e.g. `debian:12`. */
  readonly reference: string;
  /** In full, e.g. `docker.io/library/debian:12`. */
  readonly name: string;
  /** Of the index, or of the manifest of an image without one. */
  readonly digest: string;
  readonly mediaType: string;
  /** Bytes of all that is in the store, shared layers counted once. */
  readonly sizeBytes: number;
  readonly manifests: readonly ManifestDocument[];
  /** Why nothing can be done with it but `rmi`: a document of it that is damaged. Only `images` prints such an image. */
  readonly problem: string | null;
}

/** What is known of an image before any document of it is read. */
const headOf = (name: string, { digest, mediaType }: Descriptor) =>
  ({ schema: "tripod.image/1", reference: familiarSpelling(name), name, digest, mediaType }) as const;

/** Reads what the store has of an image. Throws `image-corrupt`, `image-invalid`. */
export function imageDocument(store: Store, { name, descriptor }: StoredReference): ImageDocument {
  const blobs = new Map<string, number>();
  const count = (blob: Descriptor): void => {
    if (store.has(blob)) blobs.set(blob.digest, blob.size);
  };
  count(descriptor);
  const manifests = manifestsOf(store, descriptor, name).map((entry) =>
    manifestDocument(store, entry, name, count),
  );
  return {
    ...headOf(name, descriptor),
    sizeBytes: [...blobs.values()].reduce((sum, size) => sum + size, 0),
    manifests,
    problem: null,
  };
}

/** As much as can be told of an image whose documents cannot be read, and why. */
export function damagedDocument(
  store: Store,
  { name, descriptor }: StoredReference,
  problem: string,
): ImageDocument {
  return {
    ...headOf(name, descriptor),
    sizeBytes: store.has(descriptor) ? descriptor.size : 0,
    manifests: [],
    problem,
  };
}

/** Attestations and signatures hang on an index without being ways to run; nested indexes are not ours to follow. */
function manifestsOf(store: Store, descriptor: Descriptor, name: string): readonly Descriptor[] {
  if (documentKind(descriptor.mediaType) !== "index") return [descriptor];
  const bytes = store.readDocument(descriptor, `the index of ${name}`);
  if (bytes === undefined) return [];
  return decodeIndex(bytes, `the index of ${name}`).manifests.filter(
    (entry) => documentKind(entry.mediaType) === "manifest" && entry.platform?.os !== "unknown",
  );
}

function manifestDocument(
  store: Store,
  entry: Descriptor,
  name: string,
  count: (blob: Descriptor) => void,
): ManifestDocument {
  count(entry);
  const subject = `a manifest of ${name}`;
  const bytes = store.readDocument(entry, subject);
  const manifest = bytes === undefined ? undefined : decodeManifest(bytes, subject);
  const parts = manifest === undefined ? [] : [manifest.config, ...manifest.layers];
  for (const part of parts) count(part);
  const configBytes =
    manifest === undefined || !isImageConfig(manifest.config.mediaType)
      ? undefined
      : store.readDocument(manifest.config, `the config of ${name}`);
  const config = configBytes === undefined ? undefined : decodeConfig(configBytes, `the config of ${name}`);
  return {
    digest: entry.digest,
    platform: platformText(entry.platform ?? config),
    stored: manifest !== undefined && parts.every((part) => store.has(part)),
    sizeBytes: parts.reduce((sum, { size }) => sum + size, 0),
    created: config?.created ?? null,
    annotations: { ...manifest?.annotations, ...entry.annotations },
    config: config?.config ?? {},
    layers: (manifest?.layers ?? []).map(({ digest, mediaType, size }) => ({
      digest,
      mediaType,
      sizeBytes: size,
    })),
  };
}

function platformText(
  platform: { readonly os: string; readonly architecture: string; readonly variant?: string } | undefined,
): string {
  if (platform === undefined || platform.os === "" || platform.architecture === "") return "unknown";
  const variant = platform.variant === undefined ? "" : `/${platform.variant}`;
  return `${platform.os}/${platform.architecture}${variant}`;
}
