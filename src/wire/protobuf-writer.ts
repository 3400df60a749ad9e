/** Writes the parts of one protobuf message. What it refuses is a mistake of the caller, hence `bug`. */

import { TripodError } from "../spec/errors.ts";
import type { Scalar } from "./protobuf-scalar.ts";

const maxUint32 = 2 ** 32 - 1;
const minInt32 = -(2 ** 31);
const maxInt32 = 2 ** 31 - 1;

export class ProtobufWriter {
  /** The message and field that is written, for errors. */
  subject: string;
  #buffer = Buffer.allocUnsafe(64);
  #length = 0;

  constructor(subject = "") {
    this.subject = subject;
  }

  refuse(why: string): TripodError {
    return new TripodError("bug", `${this.subject}: ${why}`);
  }

  /** What was written, as a view. */
  finish(): Uint8Array {
    return new Uint8Array(this.#buffer.buffer, this.#buffer.byteOffset, this.#length);
  }

  tag(number: number, wireType: number): void {
    this.#varint(((number << 3) | wireType) >>> 0, 0);
  }

  /** Bytes with their length before them. */
  bytes(bytes: Uint8Array): void {
    this.#varint(bytes.byteLength, 0);
    this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  /** One value without a tag. */
  scalar(kind: Scalar, value: unknown): void {
    switch (kind) {
      case "string":
        if (typeof value !== "string") throw this.refuse("no text");
        // Half a surrogate pair has no UTF-8; it would silently become another name.
        if (!value.isWellFormed()) throw this.refuse("text with half a surrogate pair");
        return this.#text(value);
      case "bytes":
        if (!(value instanceof Uint8Array)) throw this.refuse("no bytes");
        return this.bytes(value);
      case "bool":
        if (typeof value !== "boolean") throw this.refuse("no boolean");
        return this.#varint(value ? 1 : 0, 0);
      case "double":
        if (typeof value !== "number") throw this.refuse("no number");
        this.#reserve(8);
        this.#length = this.#buffer.writeDoubleLE(value, this.#length);
        return;
      case "uint32":
        return this.#number(value, 0, maxUint32);
      case "int32":
      case "enum":
        return this.#number(value, minInt32, maxInt32);
      case "uint64":
      case "biguint64":
        return this.#wide(value, BigInt.asUintN);
      case "int64":
      case "bigint64":
        return this.#wide(value, BigInt.asIntN);
    }
  }

  #number(value: unknown, least: number, most: number): void {
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      throw this.refuse(`${String(value)} is no whole number from ${least} to ${most}`);
    // A negative number takes all 64 bits, hence 10 bytes: so a reader of 64 bits sees the same.
    this.#varint(value >>> 0, value < 0 ? maxUint32 : 0);
  }

  #wide(value: unknown, clip: (bits: number, value: bigint) => bigint): void {
    if (typeof value !== "bigint" && !Number.isSafeInteger(value))
      throw this.refuse(`${String(value)} is no whole number that can be told exactly`);
    const whole = typeof value === "bigint" ? value : BigInt(Number(value));
    if (clip(64, whole) !== whole) throw this.refuse(`${whole} does not fit in 64 bits`);
    const bits = BigInt.asUintN(64, whole);
    this.#varint(Number(bits & 0xffff_ffffn), Number(bits >> 32n));
  }

  #text(text: string): void {
    const length = Buffer.byteLength(text);
    this.#varint(length, 0);
    this.#reserve(length);
    this.#length += this.#buffer.write(text, this.#length, length, "utf8");
  }

  #varint(low: number, high: number): void {
    this.#reserve(10);
    while (high !== 0 || low > 0x7f) {
      this.#buffer[this.#length++] = (low & 0x7f) | 0x80;
      low = ((low >>> 7) | (high << 25)) >>> 0;
      high >>>= 7;
    }
    this.#buffer[this.#length++] = low;
  }

  #reserve(more: number): void {
    const wanted = this.#length + more;
    if (wanted <= this.#buffer.byteLength) return;
    const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * this.#buffer.byteLength));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
