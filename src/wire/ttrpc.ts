/** Calls and answers of ttrpc, one frame each. Source: request.proto of containerd's module ttrpc; google/rpc/status.proto and code.proto for what went wrong. */

import { type Frame, encodeFrame, frameTypes, maxPayloadBytes } from "./ttrpc-frame.ts";
import { type MessageOf, decodeMessage, encodeMessage, message } from "./protobuf.ts";
import { any } from "./well-known.ts";

/** `code` of a {@link status}. containerd tells its own errors by them: a process that has ended is `notFound`, a verb in the wrong state `failedPrecondition`. */
export const statusCodes = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type StatusName = keyof typeof statusCodes;

export const status = message("google.rpc.Status", {
  code: [1, "int32"],
  message: [2, "string"],
  details: [3, { repeated: any }],
});
export type Status = MessageOf<typeof status>;

export const keyValue = message("ttrpc.KeyValue", {
  key: [1, "string"],
  value: [2, "string"],
});

export const request = message("ttrpc.Request", {
  service: [1, "string"],
  method: [2, "string"],
  payload: [3, "bytes"],
  // Callers without a deadline worth the name send numbers near 2^63.
  timeoutNano: [4, "bigint64"],
  metadata: [5, { repeated: keyValue }],
});

export const response = message("ttrpc.Response", {
  status: [1, status],
  payload: [2, "bytes"],
});

/** The key of a call's metadata that tells containerd's namespace. */
export const namespaceKey = "containerd-namespace-ttrpc";

export interface Call {
  readonly streamId: number;
  readonly service: string;
  readonly method: string;
  readonly payload: Uint8Array;
  /** How long the caller waits; it may be longer than a timer can run. Absent: for ever. */
  readonly timeoutMs?: number;
  /** A key may occur more than once. */
  readonly metadata: readonly MessageOf<typeof keyValue>[];
}

export type Answer = { readonly payload: Uint8Array } | { readonly status: Status };

/** The frame of a call that neither side streams. Throws `wire-invalid` when it does not fit in one. */
export function encodeRequest(call: Call): Uint8Array {
  const payload = encodeMessage(request, {
    service: call.service,
    method: call.method,
    payload: call.payload,
    timeoutNano: call.timeoutMs === undefined ? 0n : nanosecondsOf(call.timeoutMs),
    metadata: call.metadata,
  });
  return encodeFrame({ streamId: call.streamId, type: frameTypes.request, flags: 0, payload });
}

/** At least one: none would mean for ever. */
const nanosecondsOf = (ms: number): bigint => BigInt(Math.max(1, Math.round(ms * 1e6)));

/** Throws `wire-invalid` when the payload of the request frame is malformed. */
export function decodeRequest(frame: Frame): Call {
  const { timeoutNano, ...rest } = decodeMessage(request, frame.payload);
  return {
    streamId: frame.streamId,
    ...rest,
    ...(timeoutNano === 0n ? {} : { timeoutMs: Number(timeoutNano) / 1e6 }),
  };
}

/** The frame of an answer. One that does not fit in a frame becomes the status `resourceExhausted`, so that the caller does not wait for ever. */
export function encodeResponse(streamId: number, answer: Answer): Uint8Array {
  const payload = encodeMessage(response, answer);
  if (payload.byteLength > maxPayloadBytes) return encodeResponse(streamId, tooLong(payload.byteLength));
  return encodeFrame({ streamId, type: frameTypes.response, flags: 0, payload });
}

const tooLong = (bytes: number): Answer =>
  statusAnswer("resourceExhausted", `an answer of ${bytes} bytes; a message holds ${maxPayloadBytes}`);

/** Throws `wire-invalid` when the payload of the response frame is malformed. A status of `ok` is a payload. */
export function decodeResponse(frame: Frame): Answer {
  const { status: told, payload } = decodeMessage(response, frame.payload);
  return told === undefined || told.code === statusCodes.ok ? { payload } : { status: told };
}

/** The answer that something went wrong. */
export function statusAnswer(name: Exclude<StatusName, "ok">, why: string): Answer {
  return { status: { code: statusCodes[name], message: why, details: [] } };
}

/** The name of a status code, for people. */
export function statusName(code: number): string {
  return Object.entries(statusCodes).find(([, known]) => known === code)?.[0] ?? `status ${code}`;
}

/** The first value of a key of a call's metadata; header names are not case-sensitive. */
export function metadataValue(call: Call, key: string): string | undefined {
  return call.metadata.find((pair) => pair.key.toLowerCase() === key.toLowerCase())?.value;
}
