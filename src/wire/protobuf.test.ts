import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import {
  type MessageInput,
  type MessageOf,
  type Schema,
  decodeMessage,
  encodeMessage,
  message,
} from "./protobuf.ts";
import { hex, messages, toHex } from "./testing.ts";

const leaf = message("test.Leaf", { a: [1, "int32"], b: [2, "string"] });

const all = message("test.All", {
  text: [1, "string"],
  raw: [2, "bytes"],
  flag: [3, "bool"],
  u32: [4, "uint32"],
  i32: [5, "int32"],
  u64: [6, "uint64"],
  i64: [7, "int64"],
  wideU64: [8, "biguint64"],
  wideI64: [9, "bigint64"],
  real: [10, "double"],
  choice: [11, "enum"],
  leaf: [12, leaf],
  maybe: [13, { optional: "string" }],
  numbers: [14, { repeated: "uint32" }],
  reals: [15, { repeated: "double" }],
  words: [16, { repeated: "string" }],
  leaves: [17, { repeated: leaf }],
  labels: [18, { map: "string" }],
  byName: [2 ** 29 - 1, { map: leaf }],
});

const empty = decodeMessage(all, new Uint8Array(0));
const bytesOf = (value: MessageInput<typeof all>): string => toHex(encodeMessage(all, value));
/** What bytes say, less the fields at their default. */
const read = (text: string): Partial<MessageOf<typeof all>> => {
  const defaults = new Map<string, unknown>(Object.entries(empty));
  const decoded = Object.entries(decodeMessage(all, hex(text)));
  return Object.fromEntries(decoded.filter(([name, value]) => !isDeepStrictEqual(value, defaults.get(name))));
};

const minusOne = "ff ff ff ff ff ff ff ff ff 01";

test("bytes worked out by hand from protobuf's description of its encoding", () => {
  const cases: readonly (readonly [MessageInput<typeof all>, string])[] = [
    [{}, ""],
    [{ text: "testing" }, "0a 07 74657374696e67"],
    [{ text: "ß" }, "0a 02 c39f"],
    [{ raw: new Uint8Array([0, 255]) }, "12 02 00ff"],
    [{ flag: true }, "18 01"],
    [{ u32: 150 }, "20 9601"],
    [{ u32: 2 ** 32 - 1 }, "20 ffffffff0f"],
    [{ i32: -1 }, `28 ${minusOne}`],
    [{ i32: -(2 ** 31) }, "28 80808080f8ffffffff01"],
    [{ u64: Number.MAX_SAFE_INTEGER }, "30 ffffffffffffff0f"],
    [{ i64: -2 }, "38 feffffffffffffffff01"],
    [{ i64: Number.MIN_SAFE_INTEGER }, "38 818080808080 80f0ff01"],
    [{ wideU64: 2n ** 64n - 1n }, `40 ${minusOne}`],
    [{ wideI64: -(2n ** 63n) }, "48 80808080808080808001"],
    [{ real: 0.5 }, "51 000000000000e03f"],
    [{ real: -0 }, "51 0000000000000080"],
    [{ choice: -8 }, "58 f8ffffffffffffffff01"],
    [{ leaf: {} }, "62 00"],
    [{ leaf: { a: 150 } }, "62 03 08 9601"],
    [{ maybe: "" }, "6a 00"],
    [{ numbers: [3, 270, 86_942] }, "72 06 03 8e02 9ea705"],
    [{ numbers: [0] }, "72 01 00"],
    [{ reals: [0, 1] }, "7a 10 0000000000000000 000000000000f03f"],
    [{ words: ["a", ""] }, "8201 01 61 8201 00"],
    [{ leaves: [{ b: "x" }, {}] }, "8a01 03 12 01 78 8a01 00"],
    [{ labels: { a: "" } }, "9201 05 0a 01 61 12 00"],
    [{ byName: { a: { a: 1 } } }, "faffffff0f 07 0a 01 61 12 02 08 01"],
  ];
  for (const [value, text] of cases) {
    assert.equal(bytesOf(value), text.replaceAll(" ", ""));
    assert.deepEqual(encodeMessage(all, decodeMessage(all, hex(text))), hex(text), text);
  }
});

test("defaults are left out when written and filled in when read", () => {
  const defaults = {
    text: "",
    raw: new Uint8Array(0),
    flag: false,
    u32: 0,
    i32: 0,
    u64: 0,
    i64: 0,
    wideU64: 0n,
    wideI64: 0n,
    real: 0,
    choice: 0,
    numbers: [],
    reals: [],
    words: [],
    leaves: [],
    labels: {},
    byName: {},
  };
  assert.deepEqual(empty, defaults);
  assert.equal(bytesOf({ ...defaults, i32: -0, leaf: undefined, maybe: undefined }), "");
});

test("what other writers may send is understood as protobuf prescribes", () => {
  // A list one by one, packed, and both.
  assert.deepEqual(read("70 01 72 02 02 03 70 04"), { numbers: [1, 2, 3, 4] });
  assert.deepEqual(read("72 00"), {});
  assert.deepEqual(read("79 000000000000f03f 7a 08 0000000000000040"), { reals: [1, 2] });
  // The last of a single value wins, messages are merged.
  assert.deepEqual(read("20 01 20 02"), { u32: 2 });
  assert.deepEqual(read("62 05 08 01 12 01 78 62 02 08 02"), { leaf: { a: 2, b: "x" } });
  assert.deepEqual(read("62 02 08 01 62 00"), { leaf: { a: 1, b: "" } });
  // An entry of a map without one of its parts or with one of more; the last of a key wins.
  assert.deepEqual(read("9201 00"), { labels: { "": "" } });
  assert.deepEqual(read("9201 05 12 01 62 18 01 9201 03 12 01 63"), { labels: { "": "c" } });
  assert.deepEqual(read("faffffff0f 03 0a 01 61"), { byName: { a: { a: 0, b: "" } } });
  // Unknown fields of all four wire types.
  assert.deepEqual(read("a006 01 a106 0000000000000000 a206 02 ffff a506 00000000 20 07"), { u32: 7 });
  // Longer than needed, and beyond the kind's range.
  assert.deepEqual(read("20 87 80 00"), { u32: 7 });
  assert.deepEqual(read(`20 ${minusOne}`), { u32: 2 ** 32 - 1 });
  assert.deepEqual(read("28 ffffffff0f"), { i32: -1 });
  assert.deepEqual(read("18 80808080808080808001"), { flag: true });
  assert.deepEqual(read("0a 03 efbbbf"), { text: "\u{feff}" });
});

test("bytes that are read are a view, whatever class was given", () => {
  const given = Buffer.from(hex("12 02 0102"));
  const { raw } = decodeMessage(all, given);
  assert.deepEqual(raw, new Uint8Array([1, 2]));
  assert.equal(raw.buffer, given.buffer);
});

test("a map's keys are data, whatever they are called", () => {
  const labels = Object.fromEntries([
    ["__proto__", "a"],
    ["constructor", "b"],
  ]);
  const decoded = decodeMessage(all, encodeMessage(all, { labels })).labels;
  assert.deepEqual(Object.entries(decoded), Object.entries(labels));
  assert.equal(Object.getPrototypeOf(decoded), Object.prototype);
});

/** Asserts that the bytes are refused, with message, field and reason. */
function refused(schema: Schema, bytes: Uint8Array, expected: RegExp): void {
  assert.throws(
    () => decodeMessage(schema, bytes),
    (error) => error instanceof TripodError && error.code === "wire-invalid" && expected.test(error.message),
    `${toHex(bytes)} ${String(expected)}`,
  );
}

test("what is unsound is refused, with the message and field", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["0a ffffffff0f", /^test\.All\.text: cut off: 4294967295 bytes announced, 0 there$/],
    [`0a ${minusOne}`, /^test\.All\.text: cut off: 18446744073709552000 bytes/],
    ["0a 02 41", /test\.All\.text: cut off: 2 bytes announced, 1 there/],
    ["62 04 12 7f 41 41", /^test\.Leaf\.b: cut off: 127 bytes announced, 2 there/],
    ["72 02 01 80", /test\.All\.numbers: cut off within a number/],
    ["7a 07 00000000000000", /test\.All\.reals: cut off: 8 bytes/],
    ["51 00000000", /test\.All\.real: cut off/],
    ["20 ffffffffffffffffffff01", /test\.All\.u32: a number of more than 10 bytes/],
    ["20 ffffffffffffffffff02", /test\.All\.u32: a number of more than 64 bits/],
    ["80808080808080808080808000", /^test\.All: a number of more than 10 bytes/],
    ["00 01", /^test\.All: no field has that number/],
    ["02 00", /^test\.All: no field has that number/],
    ["8080808010 00", /^test\.All: no field has that number/],
    ["0d 00000000", /test\.All\.text: wire type 5, not 2/],
    ["08 01", /test\.All\.text: wire type 0, not 2/],
    ["22 01 01", /test\.All\.u32: wire type 2, not 0/],
    ["50 01", /test\.All\.real: wire type 0, not 1/],
    ["71 0000000000000000", /test\.All\.numbers: wire type 1, not 0/],
    ["60 01", /test\.All\.leaf: wire type 0, not 2/],
    ["9001 01", /test\.All\.labels: wire type 0, not 2/],
    ["9201 02 08 01", /test\.All\.labels\.key: wire type 0, not 2/],
    ["0b 0c", /test\.All\.text: wire type 3/],
    ["a306 a406", /test\.All\.field 100: wire type 3, which proto3 does not have/],
    ["a406", /wire type 4, which/],
    ["a606", /wire type 6, which/],
    ["a706", /wire type 7, which/],
    ["0a 01 ff", /test\.All\.text: text that is not UTF-8/],
    ["0a 03 eda080", /text that is not UTF-8/],
    ["0a 02 c080", /text that is not UTF-8/],
    ["30 8080808080808010", /test\.All\.u64: a number beyond 2\^53/],
    ["38 80808080808080808001", /test\.All\.i64: a number beyond 2\^53/],
  ];
  for (const [text, expected] of cases) refused(all, hex(text), expected);
});

test("messages in messages are read to a depth of 64", () => {
  let schema: Schema = leaf;
  let inner = new Uint8Array(0);
  for (let depth = 1; depth <= 65; depth++) {
    schema = message(`test.Depth${depth}`, { inner: [1, schema] });
    inner = new Uint8Array([0x0a, ...lengthOf(inner), ...inner]);
    if (depth <= 64) assert.doesNotThrow(() => decodeMessage(schema, inner));
  }
  refused(schema, inner, /^test\.Depth1\.inner: more than 64 messages in each other$/);
});

const lengthOf = ({ byteLength }: Uint8Array): readonly number[] =>
  byteLength < 128 ? [byteLength] : [(byteLength & 0x7f) | 0x80, byteLength >> 7];

test("two bytes a part do not fill the memory", () => {
  const many = new Uint8Array(4 << 20);
  for (let at = 0; at < many.byteLength; at += 3)
    many.set([0x8a, 0x01, 0x00].slice(0, many.byteLength - at), at);
  refused(all, many, /test\.All\.leaves: more than 262144 parts in one message/);
  refused(
    all,
    new Uint8Array([0x72, 0x81, 0x80, 0x10, ...new Uint8Array((1 << 18) + 1)]),
    /numbers: more than/,
  );
});

test("a value that its kind cannot hold is a mistake of ours", () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ u32: -1 }, /^test\.All\.u32: -1 is no whole number from 0 to 4294967295$/],
    [{ u32: 2 ** 32 }, /u32/],
    [{ i32: 1.5 }, /i32/],
    [{ i32: Number.NaN }, /i32/],
    [{ u64: -1 }, /u64: -1 does not fit in 64 bits/],
    [{ u64: 2 ** 53 }, /u64: 9007199254740992 is no whole number that can be told exactly/],
    [{ wideI64: 2n ** 63n }, /wideI64/],
    [{ text: "\u{d800}" }, /text with half a surrogate pair/],
    [{ text: 1 }, /test\.All\.text: no text/],
    [{ raw: "x" }, /no bytes/],
    [{ flag: 1 }, /no boolean/],
    [{ real: "1" }, /no number/],
    [{ leaf: "x" }, /no message/],
    [{ leaves: {} }, /no list/],
    [{ labels: "x" }, /no map/],
    [{ leaf: { b: 1 } }, /^test\.Leaf\.b: no text$/],
    [{ numbers: [1, -1] }, /test\.All\.numbers: -1/],
  ];
  for (const [value, expected] of cases)
    assert.throws(
      () => encodeMessage<Schema>(all, value as MessageInput<Schema>),
      (error) => error instanceof TripodError && error.code === "bug" && expected.test(error.message),
    );
});

test("what is written is read as it was", () => {
  fc.assert(
    fc.property(messages(all), (value) => {
      assert.deepEqual(decodeMessage(all, encodeMessage(all, value)), value);
    }),
  );
});

test("two messages one after the other are the first merged with the second", () => {
  fc.assert(
    fc.property(messages(all), messages(all), (first, second) => {
      const both = decodeMessage(
        all,
        new Uint8Array([...encodeMessage(all, first), ...encodeMessage(all, second)]),
      );
      assert.deepEqual(both.words, [...first.words, ...second.words]);
      assert.deepEqual(both.labels, { ...first.labels, ...second.labels });
      assert.equal(both.text, second.text === "" ? first.text : second.text);
    }),
  );
});

/** Decodes, and lets nothing but the refusal through. */
function decodeOrRefuse(bytes: Uint8Array): void {
  try {
    decodeMessage(all, bytes);
  } catch (error) {
    if (!(error instanceof TripodError) || error.code !== "wire-invalid") throw error;
  }
}

test("cut off at every byte, a message is refused or a sound shorter one", () => {
  fc.assert(
    fc.property(messages(all), (value) => {
      const bytes = encodeMessage(all, value);
      for (let length = 0; length < bytes.byteLength; length++) decodeOrRefuse(bytes.subarray(0, length));
    }),
    { numRuns: 30 },
  );
});

test("any bytes, and any byte changed, are read or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decodeOrRefuse), { numRuns: 1000 });
  fc.assert(
    fc.property(messages(all), fc.nat(), fc.nat({ max: 255 }), (value, at, byte) => {
      const bytes = encodeMessage(all, value);
      if (bytes.byteLength > 0) bytes[at % bytes.byteLength] = byte;
      decodeOrRefuse(bytes);
    }),
    { numRuns: 500 },
  );
});
