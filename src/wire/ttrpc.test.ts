import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { hex, messages } from "./testing.ts";
import { type Frame, FrameSplitter, maxPayloadBytes } from "./ttrpc-frame.ts";
import {
  type Call,
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
  metadataValue,
  namespaceKey,
  request,
  statusAnswer,
  statusCodes,
  statusName,
} from "./ttrpc.ts";

/** The one frame that bytes are. */
function frameOf(bytes: Uint8Array): Frame {
  const [frame, ...more] = new FrameSplitter().push(bytes);
  if (frame === undefined || "oversizedBytes" in frame) throw new Error("no frame");
  assert.deepEqual(more, []);
  return frame;
}

const frameWith = (payload: Uint8Array): Frame => ({ streamId: 1, type: 1, flags: 0, payload });

test("a call is as the Go implementation writes it", () => {
  const call: Call = {
    streamId: 3,
    service: "s",
    method: "m",
    payload: hex("01"),
    timeoutMs: 5000,
    metadata: [{ key: "k", value: "v" }],
  };
  assert.deepEqual(
    encodeRequest(call),
    hex("00000017 00000003 0100 0a017312016d1a0101 2080e497d012 2a060a016b120176"),
  );
  assert.deepEqual(decodeRequest(frameOf(encodeRequest(call))), call);
});

test("a deadline of centuries, as Go sends it, is read", () => {
  const frame = frameWith(hex("0a017312016d1a010120ffffffffffffffff7f2a060a016b120176"));
  assert.equal(decodeRequest(frame).timeoutMs, 9_223_372_036_854.775);
});

test("a deadline that has passed is written as one, not as none", () => {
  const call = { streamId: 1, service: "s", method: "m", payload: hex(""), metadata: [] };
  for (const timeoutMs of [0, -5])
    assert.equal(decodeRequest(frameOf(encodeRequest({ ...call, timeoutMs }))).timeoutMs, 1e-6);
  assert.equal("timeoutMs" in decodeRequest(frameOf(encodeRequest(call))), false);
});

test("a value of a call's metadata is found by its key, the first of several", () => {
  const metadata = [
    { key: "traceparent", value: "00" },
    { key: "Containerd-Namespace-TTRPC", value: "k8s.io" },
    { key: namespaceKey, value: "other" },
  ];
  const call = { streamId: 1, service: "", method: "", payload: hex(""), metadata };
  assert.equal(metadataValue(call, namespaceKey), "k8s.io");
  assert.equal(metadataValue(call, "none"), undefined);
});

test("an answer is a payload or a status", () => {
  const gone = statusAnswer("notFound", "gone");
  assert.deepEqual(encodeResponse(3, gone), hex("0000000a 00000003 0200 0a0808051204676f6e65"));
  assert.deepEqual(decodeResponse(frameOf(encodeResponse(3, gone))), gone);
  const fine = { payload: hex("0102") };
  assert.deepEqual(encodeResponse(5, fine), hex("00000004 00000005 0200 12020102"));
  assert.deepEqual(decodeResponse(frameOf(encodeResponse(5, fine))), fine);
  assert.deepEqual(decodeResponse(frameWith(hex("0a00 1201 07"))), { payload: hex("07") });
  assert.deepEqual(decodeResponse(frameWith(hex(""))), { payload: hex("") });
});

test("an answer too long for a frame becomes a status, a call is refused", () => {
  const payload = new Uint8Array(maxPayloadBytes);
  const answer = decodeResponse(frameOf(encodeResponse(1, { payload })));
  assert.ok("status" in answer);
  assert.equal(answer.status.code, statusCodes.resourceExhausted);
  assert.match(answer.status.message, /^an answer of 4194309 bytes; a message holds 4194304$/);
  assert.throws(
    () => encodeRequest({ streamId: 1, service: "s", method: "m", payload, metadata: [] }),
    (error) => error instanceof TripodError && error.code === "wire-invalid",
  );
});

test("status codes have names", () => {
  assert.equal(statusName(5), "notFound");
  assert.equal(statusName(99), "status 99");
});

/** Decodes, and lets nothing but the refusal through. */
function attempt(bytes: Uint8Array): void {
  for (const decode of [decodeRequest, decodeResponse])
    try {
      decode(frameWith(bytes));
    } catch (error) {
      if (!(error instanceof TripodError) || error.code !== "wire-invalid") throw error;
    }
}

test("a call or answer cut off or of any bytes is read or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), attempt), { numRuns: 500 });
  fc.assert(
    fc.property(messages(request), (value) => {
      const call = { streamId: 1, service: value.service, method: value.method, payload: value.payload };
      const bytes = encodeRequest({ ...call, metadata: value.metadata });
      for (let length = 10; length < bytes.byteLength; length++) attempt(bytes.subarray(10, length));
    }),
    { numRuns: 30 },
  );
});
