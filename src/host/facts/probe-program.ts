/** A program of our own that needs nothing of its root file system: what the probe container runs. */

import type { Arch } from "../../spec/values.ts";

/** The status it ends with: one that no runtime uses for an error of its own. */
export const probeStatus = 42;

/** `exit(42)` for each architecture, by the Linux system call tables; one instruction a line, in hexadecimal. */
const code: Readonly<Record<Arch, readonly string[]>> = {
  amd64: [
    "b83c000000", // mov $60 (exit), %eax
    "bf2a000000", // mov $42, %edi
    "0f05", // syscall
  ],
  arm64: [
    "400580d2", // mov x0, #42
    "a80b80d2", // mov x8, #93 (exit)
    "010000d4", // svc #0
  ],
};

/** ELF e_machine by architecture. */
const machine: Readonly<Record<Arch, number>> = { amd64: 62, arm64: 183 };

const headerBytes = 64;
const programHeaderBytes = 56;
const loadAddress = 0x400000n;

/** The bytes of a static ELF64 executable of one segment (System V ABI, chapters 4 and 5). */
export function probeProgram(arch: Arch): Uint8Array {
  const text = Buffer.from(code[arch].join(""), "hex");
  const textAt = headerBytes + programHeaderBytes;
  const bytes = new Uint8Array(textAt + text.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // magic, 64 bits, little-endian, version 1
  view.setUint16(16, 2, true); // e_type: ET_EXEC
  view.setUint16(18, machine[arch], true);
  view.setUint32(20, 1, true); // e_version
  view.setBigUint64(24, loadAddress + BigInt(textAt), true); // e_entry
  view.setBigUint64(32, BigInt(headerBytes), true); // e_phoff
  view.setUint16(52, headerBytes, true); // e_ehsize
  view.setUint16(54, programHeaderBytes, true); // e_phentsize
  view.setUint16(56, 1, true); // e_phnum
  view.setUint32(headerBytes, 1, true); // p_type: PT_LOAD
  view.setUint32(headerBytes + 4, 5, true); // p_flags: read, execute
  view.setBigUint64(headerBytes + 16, loadAddress, true); // p_vaddr
  view.setBigUint64(headerBytes + 24, loadAddress, true); // p_paddr
  view.setBigUint64(headerBytes + 32, BigInt(bytes.length), true); // p_filesz
  view.setBigUint64(headerBytes + 40, BigInt(bytes.length), true); // p_memsz
  view.setBigUint64(headerBytes + 48, 0x1000n, true); // p_align
  bytes.set(text, textAt);
  return bytes;
}
