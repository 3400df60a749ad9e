/**
 * Finds the entries of a tar (ustar, PAX, GNU long names) without copying their contents. One state machine for both ways to read: a file
 * at offsets and a stream. It looks and writes nothing; layers are unpacked by the warden alone.
 */

import { TripodError } from "../spec/errors.ts";

const block = 512;
/** PAX and GNU long-name records: more than any sound path and its attributes. */
const maxMetaBytes = 1 << 20;

export interface TarEntry {
  readonly name: string;
  /** The type flag: `0` file, `1` hard link, `2` symbolic link, `5` directory, … */
  readonly type: string;
  readonly size: number;
  readonly linkName: string;
  /** Where the entry's bytes begin. */
  readonly dataAt: number;
}

/** Feed it: leave out `skip` bytes, then give it exactly `need` bytes; 0 means that the archive has ended. */
export class TarScanner {
  skip = 0;
  need = block;
  #at = 0;
  #meta: { readonly type: string; readonly size: number } | undefined;
  #pax: Readonly<Record<string, string>> = {};
  #longName: string | undefined;
  #longLink: string | undefined;

  /** Takes `need` bytes; an entry when one is complete. Throws `image-invalid` at what is no tar. */
  accept(bytes: Uint8Array): TarEntry | undefined {
    this.#at += this.skip + this.need;
    this.skip = 0;
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (this.#meta !== undefined) return this.#acceptMeta(view);
    if (view.every((byte) => byte === 0)) {
      this.need = 0;
      return undefined;
    }
    const header = readHeader(view);
    if (header.type === "x" || header.type === "g" || header.type === "L" || header.type === "K") {
      if (header.size > maxMetaBytes) throw notTar(`a header of ${header.size} bytes`);
      this.#meta = { type: header.type, size: header.size };
      this.need = padded(header.size);
      if (this.need === 0) this.#acceptMeta(Buffer.alloc(0));
      return undefined;
    }
    if (header.type === "S") throw notTar("a sparse file, which is not supported");
    const size = hasData(header.type) ? (numberOf(this.#pax.size) ?? header.size) : 0;
    const entry: TarEntry = {
      name: this.#pax.path ?? this.#longName ?? header.name,
      linkName: this.#pax.linkpath ?? this.#longLink ?? header.linkName,
      type: header.type,
      size,
      dataAt: this.#at,
    };
    this.#pax = {};
    this.#longName = undefined;
    this.#longLink = undefined;
    this.skip = padded(size);
    return entry;
  }

  #acceptMeta(view: Buffer): undefined {
    const { type = "", size = 0 } = this.#meta ?? {};
    this.#meta = undefined;
    this.need = block;
    const content = view.subarray(0, size);
    if (type === "x") this.#pax = readPax(content);
    if (type === "L") this.#longName = cString(content);
    if (type === "K") this.#longLink = cString(content);
  }
}

/** Drives a scanner by a stream that comes in pieces of any size. */
export class TarStreamScanner {
  readonly #scanner = new TarScanner();
  readonly #onEntry: (entry: TarEntry) => void;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #skipped = 0;

  constructor(onEntry: (entry: TarEntry) => void) {
    this.#onEntry = onEntry;
  }

  push(chunk: Uint8Array): void {
    const scanner = this.#scanner;
    let rest = chunk;
    while (rest.byteLength > 0 && scanner.need > 0) {
      // Data is dropped piece by piece; the scanner is told of all of it at once, with the header that follows.
      if (this.#skipped < scanner.skip) {
        const dropped = Math.min(scanner.skip - this.#skipped, rest.byteLength);
        this.#skipped += dropped;
        rest = rest.subarray(dropped);
        continue;
      }
      const taken = rest.subarray(0, scanner.need - this.#heldBytes);
      this.#held.push(taken);
      this.#heldBytes += taken.byteLength;
      rest = rest.subarray(taken.byteLength);
      if (this.#heldBytes < scanner.need) continue;
      const bytes = this.#held.length === 1 ? taken : Buffer.concat(this.#held);
      this.#held = [];
      this.#heldBytes = 0;
      this.#skipped = 0;
      const entry = scanner.accept(bytes);
      if (entry !== undefined) this.#onEntry(entry);
    }
    // What is kept must not be a view of the caller's buffer, which may be used again.
    this.#held = this.#held.map((part) => Buffer.from(part));
  }
}

const padded = (size: number): number => Math.ceil(size / block) * block;
const hasData = (type: string): boolean => !["1", "2", "3", "4", "5", "6"].includes(type);
const notTar = (what: string): TripodError =>
  new TripodError("image-invalid", `not a sound tar archive: ${what}`);

function readHeader(view: Buffer) {
  let sum = 0;
  for (let at = 0; at < block; at++) sum += at >= 148 && at < 156 ? 0x20 : (view[at] ?? 0);
  if (readNumber(view.subarray(148, 156)) !== sum) throw notTar("the checksum of a header is wrong");
  const isUstar = view.toString("latin1", 257, 263) === "ustar\0";
  const prefix = isUstar ? cString(view.subarray(345, 500)) : "";
  const name = cString(view.subarray(0, 100));
  const flag = view.toString("latin1", 156, 157);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: cString(view.subarray(157, 257)),
    // Before POSIX a directory was a file with a slash at the end.
    type: flag === "\0" ? (name.endsWith("/") ? "5" : "0") : flag,
    size: readNumber(view.subarray(124, 136)),
  };
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("utf8", 0, end < 0 ? bytes.byteLength : end);
}

/** Octal digits, or GNU's big-endian binary number when the first bit is set. */
function readNumber(field: Buffer): number {
  const first = field[0] ?? 0;
  let value = 0;
  if ((first & 0x80) !== 0) {
    value = first & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
  } else {
    const text = cString(field).trim();
    if (text !== "" && !/^[0-7]+$/.test(text)) throw notTar("a number of a header is malformed");
    value = text === "" ? 0 : Number.parseInt(text, 8);
  }
  if (!Number.isSafeInteger(value)) throw notTar("a number of a header is out of range");
  return value;
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw notTar("a size is malformed");
  return value;
}

function readPax(content: Buffer): Readonly<Record<string, string>> {
  const records: [string, string][] = [];
  for (let at = 0; at < content.byteLength;) {
    const blank = content.indexOf(0x20, at);
    const length = blank < 0 || blank - at > 10 ? Number.NaN : Number(content.toString("latin1", at, blank));
    const end = at + length;
    if (!Number.isInteger(length) || end <= blank || end > content.byteLength || content[end - 1] !== 0x0a)
      throw notTar("an extended header is malformed");
    const record = content.toString("utf8", blank + 1, end - 1);
    const equals = record.indexOf("=");
    if (equals <= 0) throw notTar("an extended header is malformed");
    records.push([record.slice(0, equals), record.slice(equals + 1)]);
    at = end;
  }
  return Object.fromEntries(records);
}
