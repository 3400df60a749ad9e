/** For tests: messages of any table, and the bytes of hexadecimal text. */

import fc from "fast-check";
import type { Kind, MessageInput, MessageOf, Schema } from "./protobuf.ts";
import type { Scalar } from "./protobuf-scalar.ts";

/** Bytes from hexadecimal text, in which blanks divide what belongs together. */
export const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

export const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

const scalars: Readonly<Record<Scalar, fc.Arbitrary<unknown>>> = {
  string: fc.string({ unit: "binary" }),
  bytes: fc.uint8Array(),
  bool: fc.boolean(),
  uint32: fc.nat({ max: 2 ** 32 - 1 }),
  int32: fc.integer(),
  uint64: fc.maxSafeNat(),
  int64: fc.maxSafeInteger(),
  biguint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  bigint64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  double: fc.double(),
  enum: fc.integer(),
};

/** Complete messages of a table, as decoding gives them. */
export function messages<S extends Schema>(schema: S): fc.Arbitrary<MessageInput<S> & MessageOf<S>> {
  return fields(schema) as fc.Arbitrary<MessageInput<S> & MessageOf<S>>;
}

function fields(schema: Schema): fc.Arbitrary<unknown> {
  const entries = Object.entries(schema.fields);
  return fc.record(Object.fromEntries(entries.map(([name, [, kind]]) => [name, values(kind)])), {
    requiredKeys: entries.filter(([, [, kind]]) => !mayBeAbsent(kind)).map(([name]) => name),
    noNullPrototype: true,
  });
}

const mayBeAbsent = (kind: Kind): boolean =>
  typeof kind === "object" && ("fields" in kind || "optional" in kind);

function values(kind: Kind): fc.Arbitrary<unknown> {
  if (typeof kind === "string") return scalars[kind];
  if ("fields" in kind) return fields(kind);
  if ("optional" in kind) return scalars[kind.optional];
  if ("repeated" in kind) return fc.array(values(kind.repeated), { maxLength: 3 });
  return fc.dictionary(fc.string(), values(kind.map), { maxKeys: 3, noNullPrototype: true });
}
