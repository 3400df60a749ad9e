/**
 * The image store: an OCI image layout at `<lib>/images` that other tools can read, with one descriptor per reference in `index.json`.
 * Content is addressed by digest and verified when it is written; documents also when they are read. Several processes may use it at once:
 * blobs appear by rename, `index.json` is replaced under a lock, and whoever relies on content that no reference names yet holds a lease,
 * which keeps the garbage collection away.
 */

import { lstatSync, readFileSync, renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { processStartTicks } from "../host/processes.ts";
import { type Expected, hexOf, sizeMismatch, verifyBytes } from "../spec/digest.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type Descriptor, decodeIndex, documentKind, maxDocumentBytes, mediaTypes } from "../spec/oci.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import { type Lock, takeLock } from "./lock.ts";
import { BlobWriter } from "./blob-writer.ts";
import { makeDirectories, stateError } from "../host/state-error.ts";

/** Annotation of `index.json` entries that holds the reference; for us the full canonical name. */
export const refNameKey = "org.opencontainers.image.ref.name";
/** containerd's, so that `ctr image import` finds the full name too. */
export const containerdNameKey = "io.containerd.image.name";

const lockDeadlineMs = 30_000;

/** A name in the store and the document that it stands for: an index or a manifest. */
export interface StoredReference {
  readonly name: string;
  readonly descriptor: Descriptor;
}

export class Store {
  /** The state directory that holds images and layers. */
  readonly lib: HostPath;
  /** The OCI layout. */
  readonly root: HostPath;

  constructor(lib: HostPath) {
    this.lib = lib;
    this.root = hostPath(join(lib, "images"));
  }

  get lockDir(): HostPath {
    return hostPath(join(this.lib, "locks"));
  }

  get ingestDir(): HostPath {
    return hostPath(join(this.root, "ingest"));
  }

  /** Where unpacked layers are, by diffID. */
  get layersDir(): HostPath {
    return hostPath(join(this.lib, "layers"));
  }

  blobPath(digest: Digest): HostPath {
    return hostPath(join(this.root, "blobs", "sha256", hexOf(digest)));
  }

  /** Whether a blob is there with the size it must have. Its bytes were verified when it was written. */
  has(expected: Expected): boolean {
    const stat = lstatSync(this.blobPath(expected.digest), { throwIfNoEntry: false });
    return stat?.isFile() === true && stat.size === expected.size;
  }

  /**
   * Reads a document (index, manifest, config) and verifies size and digest. Undefined when it is not there. Throws
   * `image-corrupt`, `image-invalid` when it is larger than any sound document.
   */
  readDocument(expected: Expected, subject: string): Buffer | undefined {
    if (expected.size > maxDocumentBytes)
      throw new TripodError(
        "image-invalid",
        `${subject} claims ${expected.size} bytes, more than ${maxDocumentBytes}`,
      );
    const path = this.blobPath(expected.digest);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    // Checked before it is read: the file may have grown to anything.
    if (stat.size !== expected.size) throw sizeMismatch(subject, stat.size, expected);
    const bytes = readFileSync(path);
    verifyBytes(bytes, expected, subject);
    return bytes;
  }

  /** All references, in the order of their names. Throws `image-invalid` when `index.json` cannot be understood. */
  references(): readonly StoredReference[] {
    return this.#readIndex()
      .flatMap((descriptor) => {
        const name = descriptor.annotations?.[refNameKey];
        return name === undefined ? [] : [{ name, descriptor }];
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The document that a canonical name stands for. */
  find(name: string): StoredReference | undefined {
    return this.references().find((reference) => reference.name === name);
  }

  /** Lets `name` stand for a document that is in the store; the name moves if it stood for another. */
  async tag(name: string, descriptor: Descriptor): Promise<void> {
    if (documentKind(descriptor.mediaType) === undefined)
      throw new TripodError("bug", `${name}: ${descriptor.mediaType} is neither index nor manifest`);
    const { mediaType, digest, size } = descriptor;
    const annotations = { [containerdNameKey]: name, [refNameKey]: name };
    await this.#editIndex((entries) => [
      ...entries.filter((entry) => entry.annotations?.[refNameKey] !== name),
      { mediaType, digest, size, annotations },
    ]);
  }

  /** Removes a name; its content goes with the next collection. False when there is no such name. */
  async untag(name: string): Promise<boolean> {
    let found = false;
    await this.#editIndex((entries) => {
      const kept = entries.filter((entry) => entry.annotations?.[refNameKey] !== name);
      found = kept.length < entries.length;
      return kept;
    });
    return found;
  }

  /** Keeps all content where it is until released: held while content is used that nothing in the store names yet. */
  lease(signal?: AbortSignal): Promise<Lock> {
    return takeLock(this.lockDir, {
      key: "content",
      mode: "shared",
      deadlineMs: lockDeadlineMs,
      ...abort(signal),
    });
  }

  /** Begins a blob. The caller holds a lease and ends the writer by `commit` or `discard`. */
  async begin(): Promise<BlobWriter> {
    await this.#prepare();
    const ticks = (await processStartTicks(process.pid)) ?? 0;
    const name = `${process.pid}.${ticks}.${randomBytes(6).toString("hex")}`;
    return BlobWriter.open(hostPath(join(this.ingestDir, name)), (digest) => this.blobPath(digest));
  }

  /** Writes a small blob of bytes that are already known to be good. */
  async put(bytes: Uint8Array, expected: Expected, subject: string): Promise<void> {
    if (this.has(expected)) return;
    const writer = await this.begin();
    try {
      await writer.write(bytes);
      await writer.commit(expected, subject);
    } finally {
      await writer.discard();
    }
  }

  #readIndex(): readonly Descriptor[] {
    const path = join(this.root, "index.json");
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return [];
      throw stateError(error, `${path} cannot be read`);
    }
    return decodeIndex(bytes, path).manifests;
  }

  async #editIndex(edit: (entries: readonly Descriptor[]) => readonly Descriptor[]): Promise<void> {
    await this.#prepare();
    const lock = await takeLock(this.lockDir, {
      key: "index",
      mode: "exclusive",
      deadlineMs: lockDeadlineMs,
    });
    try {
      const before = this.#readIndex();
      const manifests = edit(before).toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
      const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
      await this.#replace("index.json", `${JSON.stringify(index, undefined, 2)}\n`);
    } finally {
      await lock.release();
    }
  }

  async #prepare(): Promise<void> {
    try {
      makeDirectories(join(this.root, "blobs", "sha256"));
      makeDirectories(this.ingestDir);
      const layout = join(this.root, "oci-layout");
      if (lstatSync(layout, { throwIfNoEntry: false }) === undefined)
        await this.#replace("oci-layout", '{"imageLayoutVersion":"1.0.0"}');
    } catch (error) {
      throw stateError(error, `${this.root} cannot be written`);
    }
  }

  /** Writes a file of the layout: temporary name, synced, renamed. */
  async #replace(name: string, content: string): Promise<void> {
    const temporary = join(this.ingestDir, `${process.pid}.0.${randomBytes(6).toString("hex")}`);
    try {
      const file = await open(temporary, "wx", 0o600);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      renameSync(temporary, join(this.root, name));
      await syncDirectory(this.root);
    } catch (error) {
      throw stateError(error, `${join(this.root, name)} cannot be written`);
    }
  }
}

const nameOf = (descriptor: Descriptor): string => descriptor.annotations?.[refNameKey] ?? "";

const abort = (signal: AbortSignal | undefined): { signal?: AbortSignal } =>
  signal === undefined ? {} : { signal };

async function syncDirectory(path: string): Promise<void> {
  const dir = await open(path, "r");
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

/** The store beneath `<lib>`; nothing is touched until it is used. */
export const openStore = (lib: HostPath): Store => new Store(lib);
