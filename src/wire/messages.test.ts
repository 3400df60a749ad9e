/** The tables of containerd's messages against bytes that its own Go packages wrote. That every field is right is for tests/contract/wire.test.ts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TripodError } from "../spec/errors.ts";
import { bootstrapParams, bootstrapResult, decodeStartInput, logLevels } from "./bootstrap.ts";
import { encodeForward, eventTopics, forwardRequest, taskExit } from "./events.ts";
import { metricsV1, metricsV2 } from "./metrics.ts";
import { type MessageInput, type Schema, decodeMessage, encodeMessage } from "./protobuf.ts";
import {
  checkpointOptions,
  processDetails,
  runcOptions,
  runtimeInfo,
  runtimeOptions,
} from "./runtime-options.ts";
import { sandboxMethods } from "./sandbox.ts";
import { createTaskRequest, stateResponse, taskMethods, taskStatus, updateTaskRequest } from "./task.ts";
import { hex, messages, toHex } from "./testing.ts";
import { any, isAny, packAny, packJson, unpackAny, unpackJson } from "./well-known.ts";
import { jsonTypes, timestampOf, timestampText } from "./well-known.ts";

const exitAt = "2026-02-28T23:59:59.999999999Z";

/** Both ways. */
function same<S extends Schema>(schema: S, value: MessageInput<S>, bytes: string): void {
  assert.equal(toHex(encodeMessage(schema, value)), bytes);
  assert.equal(toHex(encodeMessage<Schema>(schema, decodeMessage<Schema>(schema, hex(bytes)))), bytes);
}

test("messages are what containerd's Go packages write", () => {
  same(
    createTaskRequest,
    {
      id: "web",
      bundle: "/b",
      rootfs: [{ type: "overlay", source: "overlay", options: ["ro", "x=y"] }, {}],
      terminal: true,
      stdout: "/o",
      options: packAny(runcOptions, { noPivotRoot: true }),
    },
    "0a0377656212022f621a1b0a076f7665726c617912076f7665726c61792202726f2203783d791a00200132022f6f52200a1a636f6e7461696e6572642e72756e632e76312e4f7074696f6e7312020801",
  );
  same(
    updateTaskRequest,
    { id: "web", annotations: { a: "", b: "c" }, resources: {} },
    "0a0377656212001a050a016112001a060a0162120163",
  );
  same(
    stateResponse,
    {
      id: "web",
      pid: 4_294_967_295,
      status: taskStatus.stopped,
      exitStatus: 137,
      exitedAt: timestampOf("0001-01-01T00:00:00.000000001Z"),
    },
    "0a0377656218ffffffff0f2003488901520d088092b8c398feffffff011001",
  );
  same(
    bootstrapParams,
    { instanceId: "web", namespace: "default", logLevel: logLevels.trace, socketDir: "", extensions: [{}] },
    "0a03776562120764656661756c7418f8ffffffffffffffff0142004a00",
  );
  same(
    metricsV1,
    {
      cpu: { usage: { total: 1n << 60n, perCpu: [1, 300, 0] } },
      memory: { hierarchicalMemoryLimit: 0x7fff_ffff_ffff_f000n, kernelTcp: { failcnt: 1 } },
    },
    "1a120a1008808080808080808010220401ac02002210800180e0ffffffffffff7fa202022001",
  );
  same(
    metricsV2,
    {
      memory: { usageLimit: 2n ** 64n - 1n, psi: { full: { avg10: 0.5, total: 9 } } },
      network: [{ name: "eth0", txDropped: 2 }],
    },
    "221c8802ffffffffffffffffff01b2020d120b09000000000000e03f20094a080a04657468304802",
  );
});

test("an event is forwarded as containerd's own publisher does", () => {
  const bytes = encodeForward({
    topic: "/tasks/exit",
    namespace: "k8s.io",
    timestamp: timestampOf("2026-03-01T00:00:00Z"),
    event: { containerId: "web", id: "web", pid: 7, exitStatus: 255, exitedAt: timestampOf(exitAt) },
  });
  assert.equal(
    toHex(bytes),
    "0a5a0a060880838ecd0612066b38732e696f1a0b2f7461736b732f65786974223b0a1a636f6e7461696e6572642e6576656e74732e5461736b45786974121d0a037765621203776562180720ff012a0c08ff828ecd0610ff93ebdc03",
  );
  const { envelope } = decodeMessage(forwardRequest, bytes);
  assert.ok(envelope?.event !== undefined);
  const event = unpackAny(taskExit, envelope.event);
  assert.equal(event.exitStatus, 255);
  assert.equal(event.exitedAt && timestampText(event.exitedAt), exitAt);
});

test("what start reads is the parameters only when they name the sandbox", () => {
  const names = { id: "web", namespace: "default" };
  const params = encodeMessage(bootstrapParams, { instanceId: "web", namespace: "default", logLevel: -4 });
  assert.deepEqual(decodeStartInput(params, names), {
    kind: "params",
    params: decodeMessage(bootstrapParams, params),
  });
  const options = encodeMessage(any, packAny(runcOptions, { binaryName: "crun" }));
  assert.deepEqual(decodeStartInput(options, names), {
    kind: "options",
    options: decodeMessage(any, options),
  });
  // As text, these options are no UTF-8: only the other reading is sound.
  const binary = encodeMessage(any, { typeUrl: "x", value: hex("ff") });
  assert.equal(decodeStartInput(binary, names).kind, "options");
  assert.equal(decodeStartInput(params, { ...names, id: "other" }).kind, "options");
  assert.deepEqual(decodeStartInput(hex(""), names), { kind: "nothing" });
  assert.throws(() => decodeStartInput(hex("0a"), names), TripodError);
});

test("Any is opened as what it holds and nothing else", () => {
  const packed = packAny(processDetails, { execId: "e" });
  assert.equal(packed.typeUrl, "containerd.runc.v1.ProcessDetails");
  assert.deepEqual(unpackAny(processDetails, packed), { execId: "e" });
  const hosted = { ...packed, typeUrl: `type.googleapis.com/${packed.typeUrl}` };
  assert.deepEqual(unpackAny(processDetails, hosted), { execId: "e" });
  assert.equal(isAny(runcOptions, packed), false);
  assert.throws(
    () => unpackAny(runcOptions, packed),
    /^TripodError: containerd\.runc\.v1\.ProcessDetails where containerd\.runc\.v1\.Options belongs$/,
  );
  assert.throws(() => unpackAny(runcOptions, { typeUrl: "", value: hex("") }), /an unnamed type/);
});

test("JSON in Any is given back as it was", () => {
  const packed = packJson(jsonTypes.process, { args: ["sh"] });
  assert.deepEqual(unpackJson(jsonTypes.process, packed), { args: ["sh"] });
  assert.throws(() => unpackJson(jsonTypes.spec, packed), /where types\.containerd\.io.*\/Spec belongs/);
  for (const value of [hex("ff"), hex("7b")])
    assert.throws(() => unpackJson(jsonTypes.spec, { typeUrl: jsonTypes.spec, value }), /Spec: not JSON/);
});

test("times keep their nanoseconds", () => {
  assert.deepEqual(timestampOf("1970-01-01T00:00:00Z"), { seconds: 0, nanos: 0 });
  assert.deepEqual(timestampOf("1969-12-31T23:59:59.5Z"), { seconds: -1, nanos: 500_000_000 });
  assert.deepEqual(timestampOf("2026-03-01T02:00:00.000000001+02:00"), { seconds: 1_772_323_200, nanos: 1 });
  for (const text of ["", "now", "2026-13-01T00:00:00Z", "2026-03-01", "2026-03-01T00:00:00.0000000001Z"])
    assert.throws(() => timestampOf(text), /is no time of RFC 3339/);
  for (const [seconds, nanos] of [
    [253_402_300_800, 0],
    [-62_135_596_801, 0],
    [0, -1],
    [0, 1e9],
  ] as const)
    assert.throws(() => timestampText({ seconds, nanos }), /are no time/);
  fc.assert(
    fc.property(
      fc.integer({ min: -62_135_596_800, max: 253_402_300_799 }),
      fc.nat({ max: 999_999_999 }),
      (seconds, nanos) => {
        assert.deepEqual(timestampOf(timestampText({ seconds, nanos })), { seconds, nanos });
      },
    ),
  );
});

const methods = [...Object.values(taskMethods), ...Object.values(sandboxMethods)];
const schemas: readonly Schema[] = [
  ...methods.flatMap(({ request, response }) => [request, response]),
  ...Object.values(eventTopics),
  forwardRequest,
  metricsV1,
  metricsV2,
  bootstrapParams,
  bootstrapResult,
  runcOptions,
  runtimeOptions,
  runtimeInfo,
  checkpointOptions,
];

test("every message is read as it was written, and cut off at any byte it is read or refused", () => {
  for (const schema of schemas)
    fc.assert(
      fc.property(messages(schema), (value) => {
        const bytes = encodeMessage(schema, value);
        assert.deepEqual(decodeMessage(schema, bytes), value);
        for (let length = 0; length < Math.min(bytes.byteLength, 200); length++)
          try {
            decodeMessage(schema, bytes.subarray(0, length));
          } catch (error) {
            if (!(error instanceof TripodError) || error.code !== "wire-invalid") throw error;
          }
      }),
      { numRuns: 10 },
    );
});
