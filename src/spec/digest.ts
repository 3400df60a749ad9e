/** Content digests as the OCI image specification writes them. Only sha256 is accepted: every registry and tool speaks it. */

import { createHash } from "node:crypto";
import { TripodError } from "./errors.ts";
import type { Digest } from "./values.ts";

const pattern = /^sha256:[0-9a-f]{64}$/;

/** Whether the text is `sha256:` and 64 lower-case hex digits. */
export const isDigest = (text: string): text is Digest => pattern.test(text);

/** Reads a digest. Throws `image-invalid`, naming `subject`. */
export function parseDigest(text: string, subject: string): Digest {
  if (isDigest(text)) return text;
  throw new TripodError(
    "image-invalid",
    `${subject}: ${JSON.stringify(text.slice(0, 100))} is not a sha256 digest`,
  );
}

/** The 64 hex digits, safe as a file name. */
export const hexOf = (digest: Digest): string => digest.slice("sha256:".length);

/** The digest that `hex` stands for. The caller has 64 hex digits, e.g. from a hash. */
export const digestOfHex = (hex: string): Digest => `sha256:${hex}`;

/** The digest of bytes. */
export const digestOf = (bytes: Uint8Array): Digest =>
  digestOfHex(createHash("sha256").update(bytes).digest("hex"));

/** What bytes must be: their digest and their length. */
export interface Expected {
  readonly digest: Digest;
  readonly size: number;
}

/** Checks bytes against what they must be. Throws `image-corrupt`, naming `subject` and both values. */
export function verifyBytes(bytes: Uint8Array, expected: Expected, subject: string): void {
  if (bytes.byteLength !== expected.size) throw sizeMismatch(subject, bytes.byteLength, expected);
  const actual = digestOf(bytes);
  if (actual !== expected.digest) throw digestMismatch(subject, actual, expected.digest);
}

/** The error for a wrong length. */
export const sizeMismatch = (subject: string, actual: number, expected: Expected): TripodError =>
  new TripodError(
    "image-corrupt",
    `${subject}: ${expected.digest} has ${actual} bytes instead of ${expected.size}`,
    { hint: "remove the image and pull it again" },
  );

/** The error for a wrong digest. */
export const digestMismatch = (subject: string, actual: Digest, expected: Digest): TripodError =>
  new TripodError("image-corrupt", `${subject}: the bytes have digest ${actual} instead of ${expected}`, {
    hint: "remove the image and pull it again",
  });
