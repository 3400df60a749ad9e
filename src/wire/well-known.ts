/** Messages of protobuf's own that every protocol uses, with what they mean here. */

import { TripodError } from "../spec/errors.ts";
import {
  type MessageInput,
  type MessageOf,
  type Schema,
  decodeMessage,
  encodeMessage,
  message,
} from "./protobuf.ts";

/** A message of any type, with its name. */
export const any = message("google.protobuf.Any", {
  typeUrl: [1, "string"],
  value: [2, "bytes"],
});
export type Any = MessageOf<typeof any>;

/** Seconds since 1970 in UTC, negative before, and 0 to 999999999 nanoseconds after them. */
export const timestamp = message("google.protobuf.Timestamp", {
  seconds: [1, "int64"],
  nanos: [2, "int32"],
});
export type Timestamp = MessageOf<typeof timestamp>;

export const empty = message("google.protobuf.Empty", {});

/** Names under which containerd packs what is JSON in the OCI's specification: see {@link packJson}. */
export const jsonTypes = {
  spec: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
  process: "types.containerd.io/opencontainers/runtime-spec/1/Process",
  linuxResources: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources",
  features: "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
} as const;

/** Packs a message under its bare name, as containerd does: without the `type.googleapis.com/` of protobuf's own libraries. */
export function packAny<S extends Schema>(schema: S, value: MessageInput<S>): Any {
  return { typeUrl: schema.name, value: encodeMessage(schema, value) };
}

/** Whether a message of that type is in it, under its bare name or after a host's. */
export function isAny(schema: Schema, { typeUrl }: Any): boolean {
  return typeUrl === schema.name || typeUrl.endsWith(`/${schema.name}`);
}

/** The message in it. Throws `wire-invalid` when it is of another type or malformed. */
export function unpackAny<S extends Schema>(schema: S, packed: Any): MessageOf<S> {
  if (!isAny(schema, packed))
    throw new TripodError(
      "wire-invalid",
      `${packed.typeUrl || "an unnamed type"} where ${schema.name} belongs`,
    );
  return decodeMessage(schema, packed.value);
}

export function packJson(typeUrl: string, value: unknown): Any {
  return { typeUrl, value: new TextEncoder().encode(JSON.stringify(value)) };
}

/** The value in it, which is not decoded yet. Throws `wire-invalid` when it is of another type or no JSON. */
export function unpackJson(typeUrl: string, packed: Any): unknown {
  if (packed.typeUrl !== typeUrl)
    throw new TripodError("wire-invalid", `${packed.typeUrl || "an unnamed type"} where ${typeUrl} belongs`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(packed.value));
  } catch (cause) {
    throw new TripodError("wire-invalid", `${typeUrl}: not JSON`, { cause });
  }
}

const rfc3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/;

/** From RFC 3339 with up to nine decimals, as states of sandboxes have it. Throws `wire-invalid` for anything else. */
export function timestampOf(text: string): Timestamp {
  const [, toSecond = "", decimals = "", zone = ""] = rfc3339.exec(text) ?? [];
  const ms = Date.parse(`${toSecond}${zone}`);
  if (Number.isNaN(ms))
    throw new TripodError("wire-invalid", `${JSON.stringify(text)} is no time of RFC 3339`);
  return { seconds: ms / 1000, nanos: Number(decimals.padEnd(9, "0")) };
}

/** RFC 3339 in UTC with nine decimals. Throws `wire-invalid` outside of the years 1 to 9999 and for nanoseconds of more than a second. */
export function timestampText({ seconds, nanos }: Timestamp): string {
  if (seconds < -62_135_596_800 || seconds > 253_402_300_799 || nanos < 0 || nanos > 999_999_999)
    throw new TripodError("wire-invalid", `${seconds} seconds and ${nanos} nanoseconds are no time`);
  const toSecond = new Date(seconds * 1000).toISOString().slice(0, 19);
  return `${toSecond}.${String(nanos).padStart(9, "0")}Z`;
}
