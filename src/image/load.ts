/** Images from files: OCI layouts (a directory or an archive) and docker archives, compressed or not, told apart by their content. */

import { type Stats, createReadStream, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { PassThrough, type Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import type { BlobWriter } from "./blob-writer.ts";
import { type Progress, ingest } from "./ingest.ts";
import { everyEntry } from "./platform.ts";
import { canonicalName, parseReference } from "../spec/reference.ts";
import { ingestDockerImage, readDockerArchive } from "./source/docker-archive.ts";
import { type FileTree, archiveTree, directoryTree } from "./source/file-tree.ts";
import { layoutSource, readLayout } from "./source/layout.ts";
import type { Store } from "./store.ts";

export interface LoadOptions {
  /** The name to give; needed where the archive has none, and allowed only for one image. */
  readonly name?: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  /** Bytes that an archive from a stream or a compressed one may have when unfolded. Default 64 GiB. */
  readonly maxBytes?: number;
}

export interface LoadedImage {
  /** Canonical name in the store. */
  readonly name: string;
  readonly digest: Digest;
}

const defaultMaxBytes = 64 * 1024 ** 3;

/**
 * Loads all images of a directory, a file or a stream. Throws `usage` (a name is missing), `image-invalid`, `image-corrupt`, `disk-full`;
 * what fails leaves no name behind.
 */
export async function loadImages(
  store: Store,
  input: HostPath | Readable,
  options: LoadOptions = {},
): Promise<readonly LoadedImage[]> {
  const lease = await store.lease(options.signal);
  let spool: BlobWriter | undefined;
  try {
    const spoolTo = async (): Promise<BlobWriter> => (spool = await store.begin());
    await using tree = await openTree(input, spoolTo, options);
    return await loadTree(store, tree, options);
  } finally {
    await spool?.discard();
    await lease.release();
  }
}

async function openTree(
  input: HostPath | Readable,
  spoolTo: () => Promise<BlobWriter>,
  options: LoadOptions,
): Promise<FileTree> {
  if (typeof input !== "string") {
    const spool = await spoolTo();
    await unfold(input, spool, "standard input", options);
    return archiveTree(spool.path, "standard input");
  }
  let stat: Stats;
  try {
    stat = statSync(input);
  } catch (cause) {
    throw new TripodError("usage", `${input} cannot be read: ${errnoOf(cause) ?? String(cause)}`, { cause });
  }
  if (stat.isDirectory()) return directoryTree(input);
  // A pipe cannot be read at offsets, nor opened twice: it goes the way of a stream.
  if (stat.isFile() && (await compressionOf(input)) === undefined) return archiveTree(input, input);
  const spool = await spoolTo();
  await unfold(createReadStream(input), spool, input, options);
  return archiveTree(hostPath(spool.path), input);
}

async function compressionOf(path: HostPath): Promise<"gzip" | "zstd" | undefined> {
  const file = await open(path, "r");
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return sniff(buffer);
  } finally {
    await file.close();
  }
}

function sniff(start: Buffer): "gzip" | "zstd" | undefined {
  const magic = start.toString("hex", 0, 4);
  if (magic.startsWith("1f8b")) return "gzip";
  return magic === "28b52ffd" ? "zstd" : undefined;
}

/** Writes a stream, decompressed, to the spool. */
async function unfold(
  input: Readable,
  spool: BlobWriter,
  subject: string,
  options: LoadOptions,
): Promise<void> {
  const iterator = input[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  while (start.byteLength < 4) {
    const next: IteratorResult<unknown> = await iterator.next();
    if (next.done === true) break;
    if (!(next.value instanceof Uint8Array))
      throw new TripodError("bug", `${subject} gives text instead of bytes`);
    start = Buffer.concat([start, next.value]);
  }
  const whole = async function* (): AsyncGenerator<unknown> {
    yield start;
    yield* { [Symbol.asyncIterator]: () => iterator };
  };
  const compression = sniff(start);
  const decompress: Transform =
    compression === "gzip"
      ? createGunzip()
      : compression === "zstd"
        ? createZstdDecompress()
        : new PassThrough();
  const { signal } = options;
  try {
    await pipeline(
      whole,
      decompress,
      (plain: AsyncIterable<Uint8Array>) =>
        spool.writeAll(plain, options.maxBytes ?? defaultMaxBytes, subject),
      ...(signal === undefined ? [] : [{ signal }]),
    );
  } catch (error) {
    if (error instanceof TripodError || signal?.aborted === true || compression === undefined) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new TripodError("image-corrupt", `${subject} cannot be decompressed: ${why}`, { cause: error });
  }
}

async function loadTree(store: Store, tree: FileTree, options: LoadOptions): Promise<readonly LoadedImage[]> {
  const layout = await readLayout(tree);
  if (layout !== undefined) {
    const named = layout.map(({ descriptor, name }) => ({
      descriptor,
      names: name === undefined ? [] : [name],
    }));
    const source = layoutSource(tree);
    return loadEach(named, tree, options, async ({ descriptor }, names) => {
      await ingest(store, source, descriptor, names, { choose: everyEntry, ...transferOptions(options) });
      return descriptor.digest;
    });
  }
  const archive = await readDockerArchive(tree);
  if (archive === undefined)
    throw new TripodError("image-invalid", `${tree.subject} is neither an OCI layout nor a docker archive`, {
      hint: "make one by docker save, skopeo copy … oci-archive:FILE or tripod save",
    });
  return loadEach(archive, tree, options, async (image, names) => {
    const descriptor = await ingestDockerImage(store, tree, image);
    for (const name of names) await store.tag(name, descriptor);
    return descriptor.digest;
  });
}

const transferOptions = ({ onProgress, signal }: LoadOptions) => ({
  ...(onProgress === undefined ? {} : { onProgress }),
  ...(signal === undefined ? {} : { signal }),
});

async function loadEach<Found extends { readonly names: readonly string[] }>(
  images: readonly Found[],
  tree: FileTree,
  options: LoadOptions,
  load: (image: Found, names: readonly string[]) => Promise<Digest>,
): Promise<readonly LoadedImage[]> {
  if (images.length === 0) throw new TripodError("image-invalid", `${tree.subject} holds no image`);
  const wanted = options.name === undefined ? undefined : canonicalName(parseReference(options.name));
  if (wanted !== undefined && images.length > 1)
    throw new TripodError(
      "usage",
      `${tree.subject} holds ${images.length} images, so --name cannot name them`,
      {
        hint: "leave --name out to load all by their own names",
      },
    );
  // Before anything is written: either all can be named or none is loaded.
  const plan = images.map((image) => ({ image, names: wanted === undefined ? image.names : [wanted] }));
  if (plan.some(({ names }) => names.length === 0))
    throw new TripodError("usage", `${tree.subject} holds an image without a name`, {
      hint: "give it one: --name app:1",
    });
  const loaded: LoadedImage[] = [];
  for (const { image, names } of plan) {
    const digest = await load(image, names);
    loaded.push(...names.map((name) => ({ name, digest })));
  }
  return loaded;
}
