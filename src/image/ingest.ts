/** Brings an image from any source into the store: the wanted documents first, then their blobs, four at a time, and the name last. */

import { setTimeout as sleep } from "node:timers/promises";
import { verifyBytes } from "../spec/digest.ts";
import { TripodError } from "../spec/errors.ts";
import {
  type Descriptor,
  decodeConfig,
  decodeIndex,
  decodeManifest,
  documentKind,
  isImageConfig,
  maxDocumentBytes,
} from "../spec/oci.ts";
import { isNote } from "./offers.ts";
import type { Choose } from "./platform.ts";
import type { Store } from "./store.ts";

/** Where an image's content comes from. Nothing that it gives is trusted: all is verified against the descriptors. */
export interface ContentSource {
  /** For messages: `localhost:5000/app:1`, `app.tar`. */
  readonly subject: string;
  /** The bytes of an index or manifest, at most `maxDocumentBytes`; undefined when the source left it out. */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** The bytes of a blob from an offset on. */
  blob(descriptor: Descriptor, offset: number, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** Milliseconds to wait before the transfer is taken up where it broke, for the nth time; undefined: give up. */
  retryDelayMs?(error: unknown, attempt: number): number | undefined;
}

/** How far a transfer is. */
export interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly doneBlobs: number;
  readonly totalBlobs: number;
}

export interface IngestOptions {
  readonly choose: Choose;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  /** Bytes that all blobs of the image may have. Default 64 GiB. */
  readonly maxBytes?: number;
}

const parallel = 4;
const maxNesting = 3;
const defaultMaxBytes = 64 * 1024 ** 3;

/**
 * Fetches what is missing of the image and lets `name` stand for it. The caller holds a lease of the store. Throws `image-corrupt`,
 * `image-invalid`, `no-fit` (no entry that `choose` wants), `disk-full` and what the source throws; a name is never moved to what is not whole.
 */
export async function ingest(
  store: Store,
  source: ContentSource,
  root: Descriptor,
  names: readonly string[],
  options: IngestOptions,
): Promise<void> {
  const failed = new AbortController();
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal]);
  const gathered: Gathered = { documents: [], blobs: new Map(), configs: new Set() };
  await gather(store, source, root, options.choose, signal, gathered, maxNesting);
  if (gathered.blobs.size === 0)
    throw new TripodError("no-fit", `${source.subject} has nothing for this machine`, {
      hint: "look at the platforms of the image, e.g. skopeo inspect --raw",
    });
  const blobs = [...gathered.blobs.values()];
  const totalBytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const maxBytes = options.maxBytes ?? defaultMaxBytes;
  if (totalBytes > maxBytes)
    throw new TripodError(
      "image-invalid",
      `${source.subject} claims ${totalBytes} bytes, more than ${maxBytes}`,
    );
  const state = { doneBytes: 0, totalBytes, doneBlobs: 0, totalBlobs: blobs.length };
  const advance = (bytes: number, whole: number): void => {
    state.doneBytes += bytes;
    state.doneBlobs += whole;
    options.onProgress?.({ ...state });
  };
  const queue = blobs.values();
  const worker = async (): Promise<void> => {
    for (const blob of queue) {
      await fetchBlob(store, source, blob, signal, advance);
      if (gathered.configs.has(blob.digest)) checkConfig(store, source, blob);
    }
  };
  try {
    await allOrNone(Array.from({ length: parallel }, worker), failed);
  } finally {
    failed.abort();
  }
  // Children before parents: whoever sees a document sees all that it names.
  for (const { bytes, descriptor } of gathered.documents.toReversed())
    await store.put(bytes, descriptor, `${source.subject}: ${descriptor.digest}`);
  for (const name of names) await store.tag(name, root);
}

/** Waits for all, so that none goes on after the call has failed; the first failure ends the others. */
async function allOrNone(work: readonly Promise<void>[], failed: AbortController): Promise<void> {
  let first: { readonly error: unknown } | undefined;
  await Promise.all(
    work.map((one) =>
      one.catch((error: unknown) => {
        first ??= { error };
        failed.abort();
      }),
    ),
  );
  if (first !== undefined) throw first.error;
}

interface Gathered {
  readonly documents: { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[];
  readonly blobs: Map<string, Descriptor>;
  /** Digests of those blobs that are configs of images. */
  readonly configs: Set<string>;
}

/** A config that cannot be understood is refused while the image has no name yet: afterwards every command on it would fail. */
function checkConfig(store: Store, source: ContentSource, descriptor: Descriptor): void {
  const subject = `${source.subject}: the config ${descriptor.digest}`;
  const bytes = store.readDocument(descriptor, subject);
  if (bytes !== undefined) decodeConfig(bytes, subject);
}

async function gather(
  store: Store,
  source: ContentSource,
  descriptor: Descriptor,
  choose: Choose,
  signal: AbortSignal,
  into: Gathered,
  depth: number,
): Promise<void> {
  const subject = `${source.subject}: ${descriptor.digest}`;
  if (descriptor.size > maxDocumentBytes)
    throw new TripodError(
      "image-invalid",
      `${subject} claims ${descriptor.size} bytes, more than ${maxDocumentBytes}`,
    );
  const stored = store.readDocument(descriptor, subject);
  const bytes = stored ?? (await source.document(descriptor, signal));
  if (bytes === undefined) {
    // An archive may hold some of an index's images only; the root itself must be there.
    if (depth < maxNesting) return;
    throw new TripodError("image-corrupt", `${source.subject}: ${descriptor.digest} is missing`);
  }
  verifyBytes(bytes, descriptor, subject);
  into.documents.push({ descriptor, bytes });
  if (documentKind(descriptor.mediaType) === "index") {
    if (depth === 0) throw new TripodError("image-invalid", `${source.subject}: indexes are nested too deep`);
    for (const entry of choose(decodeIndex(bytes, subject).manifests))
      await gather(store, source, entry, choose, signal, into, depth - 1);
    return;
  }
  const manifest = decodeManifest(bytes, subject);
  for (const part of [manifest.config, ...manifest.layers]) into.blobs.set(part.digest, part);
  if (!isNote(descriptor) && isImageConfig(manifest.config.mediaType))
    into.configs.add(manifest.config.digest);
}

async function fetchBlob(
  store: Store,
  source: ContentSource,
  descriptor: Descriptor,
  signal: AbortSignal,
  advance: (bytes: number, whole: number) => void,
): Promise<void> {
  if (store.has(descriptor)) return advance(descriptor.size, 1);
  const subject = `${source.subject}: ${descriptor.digest}`;
  const writer = await store.begin();
  try {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      try {
        const bytes = await source.blob(descriptor, writer.size, signal);
        await writer.writeAll(
          counted(bytes, (count) => advance(count, 0)),
          descriptor.size,
          subject,
        );
        if (writer.size < descriptor.size && source.retryDelayMs !== undefined && attempt < 4) continue;
        break;
      } catch (error) {
        if (signal.aborted) throw error;
        const delayMs = source.retryDelayMs?.(error, attempt);
        if (delayMs === undefined) throw error;
        await sleep(delayMs, undefined, { signal });
      }
    }
    await writer.commit(descriptor, subject);
    advance(0, 1);
  } finally {
    await writer.discard();
  }
}

async function* counted(
  bytes: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    yield chunk;
    count(chunk.byteLength);
  }
}
