import assert from "node:assert/strict";
import { test } from "node:test";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import fc from "fast-check";
import tar from "tar-stream";
import { TripodError } from "../spec/errors.ts";
import { type TarEntry, TarStreamScanner } from "./tar-scan.ts";
import { writeTar } from "./tar-write.ts";

function scan(bytes: Buffer, pieces: readonly number[]): readonly TarEntry[] {
  const entries: TarEntry[] = [];
  const scanner = new TarStreamScanner((entry) => entries.push(entry));
  let at = 0;
  for (let index = 0; at < bytes.byteLength; index++) {
    const length = pieces[index % Math.max(pieces.length, 1)] ?? 512;
    scanner.push(bytes.subarray(at, at + length));
    at += length;
  }
  return entries;
}

const file = (path: string, content: string) => ({
  path,
  mode: 0o755,
  size: Buffer.byteLength(content),
  content: () => [Buffer.from(content)],
});

test("what we write, others and we read: parents first, one time, owner 0", async () => {
  const long = `${"d".repeat(90)}/${"f".repeat(60)}`;
  const bytes = await buffer(
    Readable.from(writeTar([file("b", "bb"), file(long, "long"), file("a/b/c", "x".repeat(1000))], 7)),
  );
  const extract = tar.extract();
  const seen: string[] = [];
  extract.on("entry", (header, stream, next) => {
    seen.push(
      `${header.name} ${header.type} ${header.size} ${header.uid} ${header.mtime?.getTime()} ${header.mode?.toString(8)}`,
    );
    stream.on("end", next).resume();
  });
  await pipeline(Readable.from([bytes]), extract);
  assert.deepEqual(seen, [
    "a/ directory 0 0 7000 755",
    "a/b/ directory 0 0 7000 755",
    "a/b/c file 1000 0 7000 755",
    "b file 2 0 7000 755",
    `${"d".repeat(90)}/ directory 0 0 7000 755`,
    `${long} file 4 0 7000 755`,
  ]);
  assert.deepEqual(
    scan(bytes, [100]).map(({ name }) => name),
    seen.map((line) => line.split(" ")[0]),
  );
});

const write = (path: string, size = 1): Promise<Buffer> =>
  buffer(Readable.from(writeTar([{ ...file(path, "x"), size }], 0)));

test("a name that ustar cannot hold is refused, and so is a file that changes its size", async () => {
  await assert.rejects(write("n".repeat(101)), /too long/);
  await assert.rejects(write("a", 2), /changed while/);
});

test("property: any names and contents of another writer are found, in pieces of any size", async () => {
  const name = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 200 })
    .filter((text) => !/[\0/]|^\.+$|^\s|\s$/.test(text) && text.isWellFormed());
  const content = fc.string({ maxLength: 2000 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(name, content), { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 }),
      async (files, pieces) => {
        const pack = tar.pack();
        for (const [path, text] of files) pack.entry({ name: path }, text);
        pack.finalize();
        const bytes = await buffer(pack);
        const found = scan(bytes, pieces).map(({ name: path, dataAt, size }) => [
          path,
          bytes.toString("utf8", dataAt, dataAt + size),
        ]);
        assert.deepEqual(found, files);
      },
    ),
  );
});

test("property: altered archives are read or refused as invalid, and never without end", async () => {
  const base = await buffer(Readable.from(writeTar([file("a/b", "x"), file("c", "y".repeat(600))], 0)));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(base.byteLength - 1), fc.nat(255)), { maxLength: 5 }), (changes) => {
      const bytes = Buffer.from(base);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        scan(bytes, [700]);
      } catch (error) {
        assert.ok(error instanceof TripodError && error.code === "image-invalid", String(error));
      }
    }),
  );
});
