/** One blob being written: hashed as it comes, verified, synced and only then renamed to its digest. */

import { createHash } from "node:crypto";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { type Expected, digestMismatch, digestOfHex, sizeMismatch } from "../spec/digest.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import type { Digest } from "../spec/values.ts";
import { stateError } from "../host/state-error.ts";

export class BlobWriter {
  readonly #file: FileHandle;
  readonly #path: HostPath;
  readonly #target: (digest: Digest) => HostPath;
  readonly #hash = createHash("sha256");
  #size = 0;
  #isOpen = true;

  private constructor(file: FileHandle, path: HostPath, target: (digest: Digest) => HostPath) {
    this.#file = file;
    this.#path = path;
    this.#target = target;
  }

  static async open(path: HostPath, target: (digest: Digest) => HostPath): Promise<BlobWriter> {
    try {
      return new BlobWriter(await open(path, "wx+", 0o600), path, target);
    } catch (error) {
      throw stateError(error, `${path} cannot be written`);
    }
  }

  /** Bytes written so far: where a broken transfer goes on. */
  get size(): number {
    return this.#size;
  }

  /** The temporary file, for who has to read what was spooled; gone after `commit` and `discard`. */
  get path(): HostPath {
    return this.#path;
  }

  /** Appends bytes. Throws `disk-full`, `state-unwritable`. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    try {
      for (let at = 0; at < bytes.byteLength;) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.byteLength - at, this.#size + at);
        at += bytesWritten;
      }
    } catch (error) {
      throw stateError(error, `${this.#path} cannot be written`);
    }
    this.#size += bytes.byteLength;
  }

  /** Appends a stream, at most up to `maxBytes` in all. Throws `image-corrupt`, naming `subject`, when there is more. */
  async writeAll(source: AsyncIterable<Uint8Array>, maxBytes: number, subject: string): Promise<void> {
    for await (const chunk of source) {
      if (this.#size + chunk.byteLength > maxBytes)
        throw new TripodError(
          "image-corrupt",
          `${subject} has more than the ${maxBytes} bytes that it should have`,
        );
      await this.write(chunk);
    }
  }

  /** Verifies against what it must be and puts the blob in its place. Throws `image-corrupt`, naming `subject`. */
  async commit(expected: Expected, subject: string): Promise<void> {
    if (this.#size !== expected.size) throw sizeMismatch(subject, this.#size, expected);
    const digest = digestOfHex(this.#hash.digest("hex"));
    if (digest !== expected.digest) throw digestMismatch(subject, digest, expected.digest);
    await this.#finish(digest);
  }

  /** Puts the blob in its place under the digest that it turned out to have. */
  async commitAny(): Promise<Expected> {
    const digest = digestOfHex(this.#hash.digest("hex"));
    await this.#finish(digest);
    return { digest, size: this.#size };
  }

  async #finish(digest: Digest): Promise<void> {
    try {
      await this.#file.datasync();
      await this.#file.close();
      this.#isOpen = false;
      await rename(this.#path, this.#target(digest));
    } catch (error) {
      throw stateError(error, `${this.#path} cannot be written`);
    }
  }

  /** Ends the writer; what was not committed is gone. Idempotent. */
  async discard(): Promise<void> {
    if (this.#isOpen) await this.#file.close();
    this.#isOpen = false;
    await unlink(this.#path).catch((error: unknown) => {
      if (errnoOf(error) !== "ENOENT") throw error;
    });
  }
}
