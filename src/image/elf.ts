/**
 * Looks at a guest kernel before anything is started: is it an ELF, for which machine, whole, of which Solo5 ABI with which devices, or with
 * a PVH entry; or is it an arm64 `Image` of Linux's boot protocol. Bounded reads only; loading is the monitor's. Formats: ELF-64 and -32 little endian, Solo5 ABI and manifest notes (version 1), Xen
 * note 18 (PVH).
 */

import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { TripodError } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import type { Arch } from "../spec/values.ts";

const maxProgramHeaders = 512;
const maxNoteBytes = 64 * 1024;

/** Solo5 targets by their number in the ABI note. */
const solo5Targets: Readonly<Record<number, string>> = {
  1: "hvt",
  2: "spt",
  3: "virtio",
  4: "muen",
  6: "xen",
};

export interface Solo5Facts {
  /** `hvt`, `spt`, …, or the number of an unknown target. */
  readonly target: string;
  readonly abiVersion: number;
  /** Names in the order of the manifest. */
  readonly netDevices: readonly string[];
  readonly blockDevices: readonly string[];
}

export interface KernelFacts {
  readonly bits: 32 | 64;
  /** Undefined: a machine that we do not run. */
  readonly arch: Arch | undefined;
  readonly machine: number;
  /** ELF type: 2 executable, 3 position independent. */
  readonly type: number;
  readonly solo5: Solo5Facts | undefined;
  /** The 32-bit PVH entry address. */
  readonly pvhEntry: number | undefined;
  /** An arm64 `Image`, which is no ELF. */
  readonly isImage: boolean;
}

/** Reads a kernel's facts. Throws `kernel-invalid`: not an ELF, truncated, malformed; `subject` names it in the message. */
export function inspectKernel(path: HostPath, subject: string): KernelFacts {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return new Inspector(file, subject).inspect();
  } finally {
    closeSync(file);
  }
}

const imageFacts: KernelFacts = {
  bits: 64,
  arch: "arm64",
  machine: 183,
  type: 2,
  solo5: undefined,
  pvhEntry: undefined,
  isImage: true,
};

class Inspector {
  readonly #file: number;
  readonly #subject: string;
  readonly #size: number;

  constructor(file: number, subject: string) {
    this.#file = file;
    this.#subject = subject;
    this.#size = fstatSync(file).size;
  }

  inspect(): KernelFacts {
    if (this.#size < 52) throw this.#invalid(`it is not an ELF file: it has only ${this.#size} bytes`);
    const header = this.#read(0, Math.min(64, this.#size), "its header");
    if (header.readUInt32BE(0) !== 0x7f454c46) {
      if (header.toString("latin1", 56, 60) === "ARMd") return imageFacts;
      throw this.#invalid(`it is not an ELF file: ${guessOf(header)}`);
    }
    const elfClass = header[4];
    if (elfClass !== 1 && elfClass !== 2) throw this.#invalid(`its ELF class ${elfClass} is unknown`);
    if (header[5] !== 1) throw this.#invalid("it is big endian");
    const bits = elfClass === 2 ? 64 : 32;
    if (header.byteLength < 64 && bits === 64) throw this.#invalid("it is truncated within its header");
    const machine = header.readUInt16LE(18);
    const segments = this.#segments(header, bits);
    let solo5Abi: { target: number; version: number } | undefined;
    let manifest: Buffer | undefined;
    let pvhEntry: number | undefined;
    for (const { type, offset, fileSize } of segments) {
      if (fileSize > 0 && offset + fileSize > this.#size)
        throw this.#invalid(
          `it is truncated: a segment reaches to byte ${offset + fileSize}, but the file has ${this.#size}`,
        );
      if (type !== 4) continue;
      for (const note of readNotes(this.#read(offset, Math.min(fileSize, maxNoteBytes), "a note"))) {
        if (note.owner === "Solo5" && note.type === 0x31494241 && note.content.byteLength >= 8)
          solo5Abi ??= { target: note.content.readUInt32LE(0), version: note.content.readUInt32LE(4) };
        if (note.owner === "Solo5" && note.type === 0x3154464d) manifest ??= note.content;
        if (note.owner === "Xen" && note.type === 18 && note.content.byteLength >= 4)
          pvhEntry ??= note.content.readUInt32LE(0);
      }
    }
    return {
      bits,
      machine,
      arch:
        machine === 62 && bits === 64
          ? "amd64"
          : machine === 3
            ? "amd64"
            : machine === 183
              ? "arm64"
              : undefined,
      type: header.readUInt16LE(16),
      solo5: solo5Abi === undefined ? undefined : this.#solo5(solo5Abi, manifest),
      pvhEntry,
      isImage: false,
    };
  }

  #segments(header: Buffer, bits: 32 | 64) {
    const wide = bits === 64;
    const at = wide ? this.#wide(header, 32) : header.readUInt32LE(28);
    const entryBytes = header.readUInt16LE(wide ? 54 : 42);
    const count = header.readUInt16LE(wide ? 56 : 44);
    if (count === 0) throw this.#invalid("it has no program headers, so there is nothing to load");
    if (count > maxProgramHeaders || entryBytes < (wide ? 56 : 32))
      throw this.#invalid("its program headers are malformed");
    const table = this.#read(at, count * entryBytes, "its program headers");
    return Array.from({ length: count }, (_, index) => {
      const entry = table.subarray(index * entryBytes);
      return {
        type: entry.readUInt32LE(0),
        offset: wide ? this.#wide(entry, 8) : entry.readUInt32LE(4),
        fileSize: wide ? this.#wide(entry, 32) : entry.readUInt32LE(16),
      };
    });
  }

  /** The manifest: u32 version, u32 count, then 104 bytes an entry, the first of which is reserved. */
  #solo5(abi: { target: number; version: number }, note: Buffer | undefined): Solo5Facts {
    const target = solo5Targets[abi.target] ?? `target ${abi.target}`;
    const names = { net: [] as string[], block: [] as string[] };
    // The content is aligned to 8 from the note's start: 4 bytes after the 20 of header and owner.
    const content = note?.subarray(4);
    if (content !== undefined) {
      const count = content.byteLength < 8 ? 0 : content.readUInt32LE(4);
      if (count < 1 || count > 64 || content.readUInt32LE(0) !== 1 || content.byteLength !== 8 + 104 * count)
        throw this.#invalid("its Solo5 manifest is malformed");
      for (let index = 1; index < count; index++) {
        const entry = content.subarray(8 + 104 * index);
        const nameBytes = entry.subarray(0, 68);
        const end = nameBytes.indexOf(0);
        const name = nameBytes.toString("latin1", 0, Math.max(end, 0));
        if (!/^[A-Za-z0-9]{1,67}$/.test(name))
          throw this.#invalid("its Solo5 manifest has a malformed device name");
        const type = entry.readUInt32LE(68);
        if (type !== 1 && type !== 2)
          throw this.#invalid(`its Solo5 device ${name} has the unknown type ${type}`);
        (type === 2 ? names.net : names.block).push(name);
      }
    }
    return { target, abiVersion: abi.version, netDevices: names.net, blockDevices: names.block };
  }

  #wide(bytes: Buffer, at: number): number {
    const value = bytes.readBigUInt64LE(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.#invalid("an offset in it is out of range");
    return Number(value);
  }

  #read(at: number, length: number, what: string): Buffer {
    if (at + length > this.#size)
      throw this.#invalid(
        `it is truncated: ${what} would end at byte ${at + length}, but the file has ${this.#size}`,
      );
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const read = readSync(this.#file, bytes, done, length - done, at + done);
      if (read === 0) throw this.#invalid(`it ends within ${what}`);
      done += read;
    }
    return bytes;
  }

  #invalid(why: string): TripodError {
    return new TripodError("kernel-invalid", `${this.#subject} cannot be loaded: ${why}`, {
      hint: "build the image again with the kernel for its monitor",
    });
  }
}

function* readNotes(bytes: Buffer) {
  for (let at = 0; at + 12 <= bytes.byteLength;) {
    const nameBytes = bytes.readUInt32LE(at);
    const contentBytes = bytes.readUInt32LE(at + 4);
    const contentAt = at + 12 + aligned(nameBytes);
    const end = contentAt + contentBytes;
    if (nameBytes > 256 || end > bytes.byteLength) return;
    yield {
      owner: bytes.toString("latin1", at + 12, at + 12 + Math.max(nameBytes - 1, 0)),
      type: bytes.readUInt32LE(at + 8),
      content: bytes.subarray(contentAt, end),
    };
    at = contentAt + aligned(contentBytes);
  }
}

const aligned = (size: number): number => Math.ceil(size / 4) * 4;

/** What a file that is no ELF may be, to help whoever packed the wrong one. */
function guessOf(header: Buffer): string {
  const start = header.toString("latin1", 0, 4);
  if (start.startsWith("#!")) return "it is a script";
  if (start.startsWith("\x1f\x8b")) return "it is gzip-compressed";
  if (start === "\x28\xb5\x2f\xfd") return "it is zstd-compressed";
  if (start.startsWith("MZ")) return "it is a PE or Linux boot image";
  return `it begins with ${header.toString("hex", 0, 4)}`;
}

/** What a guest's driver and monitor demand of its kernel. */
export interface KernelDemand {
  readonly arch: Arch;
  /** A Solo5 tender's target, or `pvh`: the architecture's own boot protocol, on arm64 Linux's. */
  readonly abi: "hvt" | "spt" | "pvh" | "any";
}

/** Refuses a kernel that cannot run. Throws `kernel-invalid` saying what it is and what was wanted. */
export function checkKernel(facts: KernelFacts, demand: KernelDemand, subject: string): void {
  const refuse = (why: string): TripodError =>
    new TripodError("kernel-invalid", `${subject} cannot be loaded: ${why}`, {
      hint: "build the image again with the kernel for its monitor",
    });
  if (facts.arch !== demand.arch)
    throw refuse(`it is for ${facts.arch ?? `ELF machine ${facts.machine}`}, not for ${demand.arch}`);
  if (demand.abi === "pvh" && demand.arch === "amd64" && facts.pvhEntry === undefined)
    throw refuse("it has no PVH entry note");
  if (demand.abi === "pvh" && demand.arch === "arm64" && !facts.isImage)
    throw refuse("it is no Image of Linux's boot protocol");
  if (demand.abi !== "hvt" && demand.abi !== "spt") return;
  if (facts.solo5 === undefined) throw refuse("it has no Solo5 ABI note");
  if (facts.solo5.target !== demand.abi)
    throw refuse(`it was built for Solo5 ${facts.solo5.target}, not ${demand.abi}`);
}
