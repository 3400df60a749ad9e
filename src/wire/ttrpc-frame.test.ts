import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { hex } from "./testing.ts";
import {
  type Frame,
  FrameSplitter,
  encodeFrame,
  frameFlags,
  frameTypes,
  maxPayloadBytes,
} from "./ttrpc-frame.ts";

const frames: fc.Arbitrary<Frame> = fc.record(
  {
    streamId: fc.nat({ max: 2 ** 32 - 1 }),
    type: fc.nat({ max: 255 }),
    flags: fc.nat({ max: 255 }),
    payload: fc.uint8Array({ maxLength: 300 }),
  },
  { noNullPrototype: true },
);

const joined = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** Splits bytes that come in pieces of the given lengths, over and over; each piece is overwritten once it was given. */
function split(splitter: FrameSplitter, bytes: Uint8Array, lengths: readonly number[]) {
  const found = [];
  for (let at = 0, index = 0; at < bytes.byteLength; index++) {
    const chunk = bytes.slice(at, at + (lengths[index % lengths.length] ?? 1));
    found.push(...splitter.push(chunk));
    at += chunk.byteLength;
    chunk.fill(0xee);
  }
  return found;
}

test("a frame is length, stream, type, flags and payload", () => {
  const payload = hex("0a0b0c");
  const bytes = encodeFrame({
    streamId: 0x01020305,
    type: frameTypes.data,
    flags: frameFlags.remoteClosed,
    payload,
  });
  assert.deepEqual(bytes, hex("00000003 01020305 03 01 0a0b0c"));
  assert.deepEqual(new FrameSplitter().push(bytes), [{ streamId: 0x01020305, type: 3, flags: 1, payload }]);
});

test("frames are found wherever the chunks end", () => {
  fc.assert(
    fc.property(
      fc.array(frames, { maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
      (sent, lengths) => {
        const splitter = new FrameSplitter();
        assert.deepEqual(split(splitter, joined(sent.map(encodeFrame)), lengths), sent);
        assert.equal(splitter.isWithinFrame, false);
      },
    ),
  );
});

test("two frames are found with the bytes divided at every place", () => {
  const sent: readonly Frame[] = [
    { streamId: 1, type: 1, flags: 0, payload: hex("010203") },
    { streamId: 3, type: 3, flags: 5, payload: new Uint8Array(0) },
  ];
  const bytes = joined(sent.map(encodeFrame));
  for (let at = 1; at < bytes.byteLength; at++) {
    const splitter = new FrameSplitter();
    const first = splitter.push(bytes.subarray(0, at));
    assert.equal(splitter.isWithinFrame, at !== 13);
    assert.deepEqual([...first, ...splitter.push(bytes.subarray(at))], sent);
  }
});

test("an empty chunk and an empty connection are no frame", () => {
  const splitter = new FrameSplitter();
  assert.deepEqual(splitter.push(new Uint8Array(0)), []);
  assert.equal(splitter.isWithinFrame, false);
});

test("the longest payload passes, whole and in pieces", () => {
  const sent: Frame = { streamId: 1, type: 1, flags: 0, payload: new Uint8Array(maxPayloadBytes).fill(7) };
  for (const length of [1 << 24, 65_536, 4099])
    assert.deepEqual(split(new FrameSplitter(), encodeFrame(sent), [length]), [sent]);
});

test("a payload too long for a frame is not written", () => {
  const payload = new Uint8Array(maxPayloadBytes + 1);
  assert.throws(
    () => encodeFrame({ streamId: 1, type: 1, flags: 0, payload }),
    (error) =>
      error instanceof TripodError && error.code === "wire-invalid" && /4194305 bytes/.test(error.message),
  );
});

test("an oversized frame is told at once, its payload dropped, and what follows is read", () => {
  const next: Frame = { streamId: 7, type: 1, flags: 0, payload: hex("01") };
  const bytes = joined([
    hex("00400001 00000005 01 00"),
    new Uint8Array(maxPayloadBytes + 1).fill(1),
    encodeFrame(next),
  ]);
  for (const length of [1 << 24, 65_536, 1021]) {
    const splitter = new FrameSplitter();
    assert.deepEqual(split(splitter, bytes, [length]), [
      { streamId: 5, type: 1, flags: 0, oversizedBytes: maxPayloadBytes + 1 },
      next,
    ]);
    assert.equal(splitter.isWithinFrame, false);
  }
  const splitter = new FrameSplitter();
  assert.equal(splitter.push(hex("ffffffff 00000005 01 00")).length, 1);
  assert.equal(splitter.isWithinFrame, true);
});

test("any bytes are frames, and no more than they hold", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.integer({ min: 1, max: 9 }), (bytes, length) => {
      const found = split(new FrameSplitter(), bytes, [length]);
      assert.deepEqual(found, split(new FrameSplitter(), bytes, [1000]));
      assert.ok(found.length <= bytes.byteLength / 10);
    }),
    { numRuns: 300 },
  );
});
