/** The smallest kernels there are, written byte by byte: one line of output and the end of the machine. */

const loadAddress = 0x100000;

/**
 * A PVH kernel that writes `text` to the first serial port and then faults three times, which resets the machine, or writes `end.value` to `end.port`, which
 * ends a machine with such a device.
 */
export function pvhKernel(text: string, end?: { readonly port: number; readonly value: number }): Buffer {
  const headers = 64 + 2 * 56;
  // name size, descriptor size, type XEN_ELFNOTE_PHYS32_ENTRY, "Xen", entry
  const note = Buffer.alloc(20);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(4, 4);
  note.writeUInt32LE(18, 8);
  note.write("Xen\0", 12);
  const entry = loadAddress + headers + note.length;
  note.writeUInt32LE(entry, 16);
  const code = Buffer.from(
    [
      [0xbe, 0, 0, 0, 0], // mov esi, text
      [0x66, 0xba, 0xf8, 0x03], // mov dx, 0x3f8
      [0xac], // next: lodsb
      [0x84, 0xc0], // test al, al
      [0x74, 0x03], // jz end
      [0xee], // out dx, al
      [0xeb, 0xf8], // jmp next
      ...(end === undefined
        ? []
        : [
            [0x66, 0xba, end.port & 0xff, end.port >> 8], // mov dx, port
            [0xb0, end.value], // mov al, value
            [0xee], // out dx, al
            [0xeb, 0xfe], // jmp here
          ]),
      [0x0f, 0x01, 0x1d, 0, 0, 0, 0], // end: lidt [six zero bytes]
      [0xcc], // int3
    ].flat(),
  );
  const zeros = Buffer.alloc(8);
  code.writeUInt32LE(entry + code.length + zeros.length, 1);
  code.writeUInt32LE(entry + code.length, code.length - 5);
  const body = Buffer.concat([note, code, zeros, Buffer.from(`${text}\0`)]);
  const size = headers + body.length;
  const head = Buffer.alloc(headers);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.writeUInt16LE(2, 16); // executable
  head.writeUInt16LE(62, 18); // x86-64
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(BigInt(entry), 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(2, 56);
  const segment = (at: number, type: number, offset: number, length: number): void => {
    head.writeUInt32LE(type, at);
    head.writeUInt32LE(7, at + 4);
    head.writeBigUInt64LE(BigInt(offset), at + 8);
    head.writeBigUInt64LE(BigInt(loadAddress + offset), at + 16);
    head.writeBigUInt64LE(BigInt(loadAddress + offset), at + 24);
    head.writeBigUInt64LE(BigInt(length), at + 32);
    head.writeBigUInt64LE(BigInt(length), at + 40);
    head.writeBigUInt64LE(4n, at + 48);
  };
  segment(64, 1, 0, size);
  segment(64 + 56, 4, headers, note.length);
  return Buffer.concat([head, body]);
}

/** A raw kernel for Arm's `virt` machine: writes `text` to its serial port and asks the firmware to switch the machine off. */
export function armKernel(text: string): Buffer {
  const code = [
    0xd2a12000, // movz x0, #0x900, lsl #16: the serial port
    0x10000121, // adr x1, text
    0x38401422, // next: ldrb w2, [x1], #1
    0x34000062, // cbz w2, end
    0xb9000002, // str w2, [x0]
    0x17fffffd, // b next
    0x52800100, // end: movz w0, #8
    0x72b08000, // movk w0, #0x8400, lsl #16: PSCI's SYSTEM_OFF
    0xd4000002, // hvc #0
    0x14000000, // b .
  ];
  const words = Buffer.alloc(4 * code.length);
  for (const [index, word] of code.entries()) words.writeUInt32LE(word, 4 * index);
  return Buffer.concat([words, Buffer.from(`${text}\0`)]);
}
