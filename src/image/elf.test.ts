import assert from "node:assert/strict";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import { checkKernel, inspectKernel } from "./elf.ts";
import { temporaryDir } from "./testing.ts";

const pad = (bytes: Buffer, to: number): Buffer =>
  Buffer.concat([bytes, Buffer.alloc((to - (bytes.byteLength % to)) % to)]);

function note(owner: string, type: number, content: Buffer): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(owner.length + 1, 0);
  header.writeUInt32LE(content.byteLength, 4);
  header.writeUInt32LE(type, 8);
  return Buffer.concat([header, pad(Buffer.from(`${owner}\0`), 4), pad(content, 4)]);
}

const words = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeUInt32LE(value, index * 4));
  return bytes;
};

/** A Solo5 manifest: an empty first entry, then devices of type 1 (block) or 2 (net). */
function solo5Manifest(...devices: readonly (readonly [string, number])[]): Buffer {
  const entries = [["", 0x40000000] as const, ...devices].map(([name, type]) => {
    const entry = Buffer.alloc(104);
    entry.write(name, 0);
    entry.writeUInt32LE(type, 68);
    return entry;
  });
  return Buffer.concat([words(0, 1, entries.length), ...entries]);
}

/** A 64-bit ELF with one PT_NOTE a note, at known places. */
function elf(machine: number, notes: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(64 + 56 * notes.length);
  header.write("\x7fELF\x02\x01\x01", 0, "latin1");
  header.writeUInt16LE(2, 16);
  header.writeUInt16LE(machine, 18);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(notes.length, 56);
  let at = header.byteLength;
  notes.forEach((content, index) => {
    header.writeUInt32LE(4, 64 + 56 * index);
    header.writeBigUInt64LE(BigInt(at), 64 + 56 * index + 8);
    header.writeBigUInt64LE(BigInt(content.byteLength), 64 + 56 * index + 32);
    at += content.byteLength;
  });
  return Buffer.concat([header, ...notes]);
}

const abi = (target: number): Buffer => note("Solo5", 0x31494241, words(target, 2, 0, 0));
const manifest = note("Solo5", 0x3154464d, solo5Manifest(["service0", 2], ["disk", 1], ["service1", 2]));
const spt = elf(62, [abi(2), manifest]);

const isInvalid = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof TripodError && error.code === "kernel-invalid", String(error));
  assert.match(error.message, message);
  return true;
};

test("a Solo5 kernel tells its target and its devices, a PVH kernel its entry", (t) => {
  const path = hostPath(join(temporaryDir(t), "kernel"));
  writeFileSync(path, spt);
  const facts = inspectKernel(path, "k");
  assert.deepEqual(facts.solo5, {
    target: "spt",
    abiVersion: 2,
    netDevices: ["service0", "service1"],
    blockDevices: ["disk"],
  });
  checkKernel(facts, { arch: "amd64", abi: "spt" }, "k");
  assert.throws(
    () => checkKernel(facts, { arch: "amd64", abi: "hvt" }, "k"),
    isInvalid(/Solo5 spt, not hvt/),
  );
  assert.throws(
    () => checkKernel(facts, { arch: "arm64", abi: "spt" }, "k"),
    isInvalid(/amd64, not for arm64/),
  );
  assert.throws(() => checkKernel(facts, { arch: "amd64", abi: "pvh" }, "k"), isInvalid(/no PVH/));
  writeFileSync(path, elf(62, [note("Xen", 18, words(0x100000))]));
  const pvh = inspectKernel(path, "k");
  assert.equal(pvh.pvhEntry, 0x100000);
  checkKernel(pvh, { arch: "amd64", abi: "pvh" }, "k");
  assert.throws(() => checkKernel(pvh, { arch: "amd64", abi: "spt" }, "k"), isInvalid(/no Solo5/));
});

test("an Image is known by its header, and is what a pvh guest is on arm64", (t) => {
  const dir = temporaryDir(t);
  const image = Buffer.alloc(80);
  image.write("ARMd", 56);
  const path = join(dir, "image");
  writeFileSync(path, image);
  const facts = inspectKernel(hostPath(path), "/kernel");
  assert.deepEqual([facts.isImage, facts.arch], [true, "arm64"]);
  checkKernel(facts, { arch: "arm64", abi: "pvh" }, "/kernel");
  assert.throws(() => checkKernel(facts, { arch: "amd64", abi: "pvh" }, "/kernel"), /it is for arm64/);
  assert.throws(() => checkKernel(facts, { arch: "arm64", abi: "spt" }, "/kernel"), /no Solo5 ABI note/);
  writeFileSync(path, elf(183, []));
  assert.throws(() => inspectKernel(hostPath(path), "/kernel"), /nothing to load/);
  writeFileSync(path, elf(183, [manifest]));
  const plain = inspectKernel(hostPath(path), "/kernel");
  assert.throws(() => checkKernel(plain, { arch: "arm64", abi: "pvh" }, "/kernel"), /no Image/);
});

test("what is no kernel is told apart", (t) => {
  const dir = temporaryDir(t);
  const cases: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(0), /only 0 bytes/],
    [Buffer.from(`#!/bin/sh\n${" ".repeat(100)}`), /a script/],
    [Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(100)]), /gzip/],
    [Buffer.alloc(100), /begins with 00000000/],
    [spt.subarray(0, spt.byteLength - 8), /truncated/],
    [spt.subarray(0, 100), /truncated/],
    [elf(62, []), /no program headers/],
    [elf(62, [abi(2), note("Solo5", 0x3154464d, words(0, 1, 99))]), /manifest is malformed/],
    [elf(62, [abi(2), note("Solo5", 0x3154464d, solo5Manifest(["a b", 2]))]), /device name/],
    [elf(62, [abi(2), note("Solo5", 0x3154464d, solo5Manifest(["a", 7]))]), /unknown type 7/],
  ];
  for (const [bytes, message] of cases) {
    const path = hostPath(join(dir, "kernel"));
    writeFileSync(path, bytes);
    assert.throws(() => inspectKernel(path, "k"), isInvalid(message), String(message));
  }
  symlinkSync("kernel", join(dir, "link"));
  assert.throws(() => inspectKernel(hostPath(join(dir, "link")), "k"), /ELOOP/);
});

test("property: whatever is altered or cut, the answer is facts or kernel-invalid", (t) => {
  const path: HostPath = hostPath(join(temporaryDir(t), "kernel"));
  const change = fc.tuple(fc.nat(spt.byteLength - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 8 }), fc.nat(spt.byteLength), (changes, cut) => {
      const bytes = Buffer.from(spt);
      for (const [at, value] of changes) bytes[at] = value;
      writeFileSync(path, bytes.subarray(0, spt.byteLength - (cut % 3 === 0 ? cut : 0)));
      try {
        inspectKernel(path, "k");
      } catch (error) {
        assert.ok(error instanceof TripodError && error.code === "kernel-invalid", String(error));
      }
    }),
    { numRuns: 300 },
  );
});
