/**
 * Messages of protobuf (proto3) from tables, without generated code. A table gives each field its number and kind; TypeScript infers the message from it.
 * Follows https://protobuf.dev/programming-guides/encoding; kinds that no protocol of ours uses (sint, fixed, groups, oneof) are left out.
 */

import { ProtobufReader } from "./protobuf-reader.ts";
import { type Scalar, type ScalarValues, scalars, wireTypes } from "./protobuf-scalar.ts";
import { ProtobufWriter } from "./protobuf-writer.ts";

/** A scalar or message alone is a field that may occur once; `optional` tells a scalar that was sent as its default from one that was not sent. */
export type Kind =
  | Scalar
  | Schema
  | { readonly optional: Scalar }
  | { readonly repeated: Scalar | Schema }
  | { readonly map: "string" | Schema };

/** Names of fields, in camel case, with the number and kind of each. */
export interface Fields {
  readonly [name: string]: readonly [number: number, kind: Kind];
}

/** A kind taken apart, for the codec. */
interface Field {
  readonly name: string;
  readonly number: number;
  readonly shape: "single" | "optional" | "repeated" | "map";
  /** Of a map: its entry, a message with a key and a value. */
  readonly element: Scalar | Schema;
}

export interface Schema<F extends Fields = Fields> {
  /** The full name, by which `Any` and errors know it. */
  readonly name: string;
  readonly fields: F;
  readonly byNumber: ReadonlyMap<number, Field>;
}

type IsAbsentable<K> = K extends Schema | { readonly optional: Scalar } ? true : false;
type Flat<T> = { [N in keyof T]: T[N] };

type ValueOf<K> = K extends Scalar
  ? ScalarValues[K]
  : K extends Schema<infer F>
    ? ValuesOf<F>
    : K extends { readonly optional: infer E }
      ? ValueOf<E>
      : K extends { readonly repeated: infer E }
        ? readonly ValueOf<E>[]
        : K extends { readonly map: infer E }
          ? Readonly<Record<string, ValueOf<E>>>
          : never;

type ValuesOf<F extends Fields> = Flat<
  {
    readonly [N in keyof F as IsAbsentable<F[N][1]> extends true ? never : N]: ValueOf<F[N][1]>;
  } & {
    readonly [N in keyof F as IsAbsentable<F[N][1]> extends true ? N : never]?: ValueOf<F[N][1]>;
  }
>;

type SourceOf<K> = K extends "uint64" | "int64" | "biguint64" | "bigint64"
  ? number | bigint
  : K extends Scalar
    ? ScalarValues[K]
    : K extends Schema<infer F>
      ? SourcesOf<F>
      : K extends { readonly optional: infer E }
        ? SourceOf<E>
        : K extends { readonly repeated: infer E }
          ? readonly SourceOf<E>[]
          : K extends { readonly map: infer E }
            ? Readonly<Record<string, SourceOf<E>>>
            : never;

type SourcesOf<F extends Fields> = {
  readonly [N in keyof F]?: SourceOf<F[N][1]> | undefined;
};

/** A decoded message: every field is there, with its default where it was not sent, but messages and optional scalars may be absent. */
export type MessageOf<S extends Schema> = ValuesOf<S["fields"]>;

/** What can be encoded: every field may be left out; a decoded message fits. */
export type MessageInput<S extends Schema> = SourcesOf<S["fields"]>;

/** A method of a service: what is asked and what is answered. */
export interface Method {
  readonly request: Schema;
  readonly response: Schema;
}

/** Describes a message, for {@link encodeMessage} and {@link decodeMessage}. */
export function message<const F extends Fields>(name: string, fields: F): Schema<F> {
  const byNumber = new Map(
    Object.entries(fields).map(([field, [number, kind]]) => [number, fieldOf(name, field, number, kind)]),
  );
  return { name, fields, byNumber };
}

function fieldOf(owner: string, name: string, number: number, kind: Kind): Field {
  if (typeof kind === "string" || "fields" in kind) return { name, number, shape: "single", element: kind };
  if ("optional" in kind) return { name, number, shape: "optional", element: kind.optional };
  if ("repeated" in kind) return { name, number, shape: "repeated", element: kind.repeated };
  // Both parts of an entry are written even at their default, as other writers do.
  const value: Kind = kind.map === "string" ? { optional: kind.map } : kind.map;
  const entry = message(`${owner}.${name}`, { key: [1, { optional: "string" }], value: [2, value] });
  return { name, number, shape: "map", element: entry };
}

/** The bytes of a message; fields at their default are left out. Throws `bug` for a value that its kind cannot hold. */
export function encodeMessage<S extends Schema>(schema: S, value: MessageInput<S>): Uint8Array {
  return fieldBytes(schema, value);
}

function fieldBytes(schema: Schema, source: object): Uint8Array {
  const writer = new ProtobufWriter();
  const values: Readonly<Record<string, unknown>> = { ...source };
  for (const field of schema.byNumber.values()) {
    const value = values[field.name];
    if (value === undefined) continue;
    writer.subject = `${schema.name}.${field.name}`;
    if (field.shape === "map") writeMap(writer, field, value);
    else if (field.shape === "repeated") writeItems(writer, field, value);
    else if (field.shape === "optional" || !isDefault(field, value)) writeItem(writer, field, value);
  }
  return writer.finish();
}

/** Of a message alone there is no default: an empty one is told from none. Minus zero is not the default of a double, whose bits are then not all zero. */
function isDefault({ element }: Field, value: unknown): boolean {
  if (value instanceof Uint8Array) return element === "bytes" && value.byteLength === 0;
  if (element === "double") return Object.is(value, 0);
  return value === 0 || value === 0n || value === "" || value === false;
}

function writeItem(writer: ProtobufWriter, { number, element }: Field, value: unknown): void {
  if (typeof element === "string") {
    writer.tag(number, scalars[element].wireType);
    writer.scalar(element, value);
  } else {
    if (typeof value !== "object" || value === null) throw writer.refuse("no message");
    writer.tag(number, wireTypes.bytes);
    writer.bytes(fieldBytes(element, value));
  }
}

function writeItems(writer: ProtobufWriter, field: Field, value: unknown): void {
  if (!Array.isArray(value)) throw writer.refuse("no list");
  const { number, element } = field;
  if (typeof element !== "string" || scalars[element].wireType === wireTypes.bytes) {
    for (const item of value) writeItem(writer, field, item);
  } else if (value.length > 0) {
    const packed = new ProtobufWriter(writer.subject);
    for (const item of value) packed.scalar(element, item);
    writer.tag(number, wireTypes.bytes);
    writer.bytes(packed.finish());
  }
}

function writeMap(writer: ProtobufWriter, field: Field, map: unknown): void {
  if (typeof map !== "object" || map === null) throw writer.refuse("no map");
  for (const [key, value] of Object.entries(map)) writeItem(writer, field, { key, value });
}

/**
 * A message from its bytes. Throws `wire-invalid`, with the message and field, at anything that is not sound: what is cut off, other wire types than the
 * field's, groups, text that is not UTF-8, too deep or too many parts. Unknown fields are skipped. `bytes` fields are views of what was given.
 */
export function decodeMessage<S extends Schema>(schema: S, bytes: Uint8Array): MessageOf<S> {
  return readFields(new ProtobufReader(schema.name, bytes), schema, {}) as MessageOf<S>;
}

type Draft = Record<string, unknown>;

/** Reads into a draft, which is empty or what an earlier occurrence of the same field left: proto3 merges the two. */
function readFields(reader: ProtobufReader, schema: Schema, draft: Draft): Draft {
  for (const field of schema.byNumber.values())
    if (!isAbsentable(field) && !Object.hasOwn(draft, field.name)) draft[field.name] = emptyOf(field);
  while (!reader.isAtEnd) {
    const { number, wireType } = reader.tag();
    const field = schema.byNumber.get(number);
    reader.field = field?.name ?? `field ${number}`;
    if (field === undefined) reader.skip(wireType);
    else readField(reader, field, wireType, draft);
  }
  return draft;
}

const isAbsentable = ({ shape, element }: Field): boolean =>
  shape === "optional" || (shape === "single" && typeof element !== "string");

function emptyOf({ shape, element }: Field): unknown {
  if (shape === "repeated") return [];
  return shape === "map" || typeof element !== "string" ? {} : scalars[element].zero;
}

function readField(reader: ProtobufReader, field: Field, wireType: number, draft: Draft): void {
  const { name, shape, element } = field;
  const own = typeof element === "string" ? scalars[element].wireType : wireTypes.bytes;
  const isPacked = shape === "repeated" && wireType === wireTypes.bytes && own !== wireTypes.bytes;
  if (wireType !== own && !isPacked) throw reader.refuse(`wire type ${wireType}, not ${own}`);
  if (shape === "repeated") readItems(reader, element, isPacked, draft[name] as unknown[]);
  else if (typeof element === "string") draft[name] = reader.scalar(element);
  else if (shape === "map") readEntry(reader, element, draft[name] as Draft);
  else draft[name] = readFields(reader.nested(element.name), element, (draft[name] ?? {}) as Draft);
}

function readItems(
  reader: ProtobufReader,
  element: Scalar | Schema,
  isPacked: boolean,
  items: unknown[],
): void {
  if (typeof element !== "string") items.push(readFields(reader.nested(element.name), element, {}));
  else if (isPacked) for (const packed = reader.packed(); !packed.isAtEnd;) items.push(packed.item(element));
  else items.push(reader.item(element));
}

function readEntry(reader: ProtobufReader, schema: Schema, map: Draft): void {
  const { key = "", value } = readFields(reader.nested(schema.name), schema, {});
  // Not by assignment: here `__proto__` is a key like any other.
  Object.defineProperty(map, String(key), {
    value: value ?? emptyValue(schema),
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

function emptyValue(entry: Schema): unknown {
  const element = entry.byNumber.get(2)?.element;
  return typeof element === "object" ? decodeMessage(element, new Uint8Array(0)) : "";
}
