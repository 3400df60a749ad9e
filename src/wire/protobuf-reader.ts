/** Reads the parts of one protobuf message from bytes that nobody vouches for: nothing outside of them, and no more parts or depth than a sound message has. */

import { isUtf8 } from "node:buffer";
import { TripodError } from "../spec/errors.ts";
import { type Scalar, wireTypes } from "./protobuf-scalar.ts";

const maxDepth = 64;

/**
 * Messages, list items and map entries of one message, all levels together. An empty message takes 2 bytes on the wire and a hundred in memory, so the bytes
 * alone are no bound; the longest sound list is that of a container's processes.
 */
const maxParts = 1 << 18;

const maxFieldNumber = 2 ** 29 - 1;

interface Budget {
  parts: number;
}

export class ProtobufReader {
  /** The field that is read, for errors. */
  field = "";
  readonly #message: string;
  readonly #bytes: Uint8Array;
  readonly #depth: number;
  readonly #budget: Budget;
  #at = 0;
  /** The halves of the varint read last, unsigned. */
  #low = 0;
  #high = 0;

  /** `message`: its name, for errors. Depth and budget are those of the message that this one lies in. */
  constructor(message: string, bytes: Uint8Array, depth = 0, budget: Budget = { parts: maxParts }) {
    this.#message = message;
    this.#bytes = bytes;
    this.#depth = depth;
    this.#budget = budget;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.byteLength;
  }

  /** The error `wire-invalid` for the field that is read. */
  refuse(why: string): TripodError {
    const subject = this.field === "" ? this.#message : `${this.#message}.${this.field}`;
    return new TripodError("wire-invalid", `${subject}: ${why}`);
  }

  /** The number and wire type of the next field. */
  tag(): { readonly number: number; readonly wireType: number } {
    this.field = "";
    this.#varint();
    const number = this.#low >>> 3;
    if (this.#high !== 0 || number === 0 || number > maxFieldNumber)
      throw this.refuse("no field has that number");
    return { number, wireType: this.#low & 7 };
  }

  /** Passes over a field that no table knows. */
  skip(wireType: number): void {
    if (wireType === wireTypes.varint) this.#varint();
    else if (wireType === wireTypes.fixed64) this.#take(8);
    else if (wireType === wireTypes.bytes) this.#delimited();
    else if (wireType === wireTypes.fixed32) this.#take(4);
    else throw this.refuse(`wire type ${wireType}, which proto3 does not have`);
  }

  /** One value; its wire type was seen to be the kind's. Range and sign are cut off as a cast in C would, which is what protobuf prescribes. */
  scalar(kind: Scalar): unknown {
    if (kind === "string") return this.#string();
    if (kind === "bytes") return this.#delimited();
    if (kind === "double") {
      const { buffer, byteOffset } = this.#take(8);
      return new DataView(buffer, byteOffset, 8).getFloat64(0, true);
    }
    this.#varint();
    if (kind === "bool") return this.#low !== 0 || this.#high !== 0;
    if (kind === "uint32") return this.#low;
    if (kind === "int32" || kind === "enum") return this.#low | 0;
    if (kind === "biguint64") return this.#wide();
    if (kind === "bigint64") return BigInt.asIntN(64, this.#wide());
    const high = kind === "int64" ? this.#high | 0 : this.#high;
    const value = high * 2 ** 32 + this.#low;
    if (!Number.isSafeInteger(value)) throw this.refuse("a number beyond 2^53");
    return value;
  }

  /** One value of a list. */
  item(kind: Scalar): unknown {
    this.#count();
    return this.scalar(kind);
  }

  /** A reader of the length-delimited part that follows, which is passed over here. */
  nested(message: string): ProtobufReader {
    this.#count();
    if (this.#depth === maxDepth) throw this.refuse(`more than ${maxDepth} messages in each other`);
    return new ProtobufReader(message, this.#delimited(), this.#depth + 1, this.#budget);
  }

  /** A reader of the packed numbers that follow; errors name this field. */
  packed(): ProtobufReader {
    const reader = new ProtobufReader(this.#message, this.#delimited(), this.#depth, this.#budget);
    reader.field = this.field;
    return reader;
  }

  #count(): void {
    this.#budget.parts -= 1;
    if (this.#budget.parts < 0) throw this.refuse(`more than ${maxParts} parts in one message`);
  }

  #wide(): bigint {
    return (BigInt(this.#high) << 32n) | BigInt(this.#low);
  }

  #string(): string {
    const bytes = this.#delimited();
    if (!isUtf8(bytes)) throw this.refuse("text that is not UTF-8");
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
  }

  #delimited(): Uint8Array {
    this.#varint();
    return this.#take(this.#high * 2 ** 32 + this.#low);
  }

  /** A view, always of the plain class, whichever was given. */
  #take(length: number): Uint8Array {
    const { buffer, byteOffset, byteLength } = this.#bytes;
    const left = byteLength - this.#at;
    if (length > left) throw this.refuse(`cut off: ${length} bytes announced, ${left} there`);
    const taken = new Uint8Array(buffer, byteOffset + this.#at, length);
    this.#at += length;
    return taken;
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) throw this.refuse("cut off within a number");
      this.#at += 1;
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high |= bits >>> 4;
      if (shift > 28) high |= bits << (shift - 32);
      if (byte >= 0x80) continue;
      if (shift === 63 && byte > 1) throw this.refuse("a number of more than 64 bits");
      this.#low = low >>> 0;
      this.#high = high >>> 0;
      return;
    }
    throw this.refuse("a number of more than 10 bytes");
  }
}
