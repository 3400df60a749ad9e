import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { WardenConnection } from "./warden.ts";

const exit = { event: "exit", exitCode: 3, oomKilled: false, finishedAt: "2026-01-01T00:00:00Z" };

const isGone = (error: unknown): boolean => error instanceof TripodError && error.code === "warden-gone";

test("the end of a workload is known although its warden was gone before anybody asked", async () => {
  const [ours, wardens] = duplexPair();
  const connection = new WardenConnection(ours);
  wardens.end(`${JSON.stringify(exit)}\n`);
  await connection.closed();
  assert.equal((await connection.exited()).exitCode, 3);
});

test("what the OCI runtime refuses to create is not blamed on the machine", async () => {
  const [ours, wardens] = duplexPair();
  const connection = new WardenConnection(ours);
  const asked = connection.start();
  const error = { code: "step-failed", message: "runc cannot create the container", step: "oci", index: 3 };
  wardens.end(`${JSON.stringify({ id: 1, error })}\n`);
  await assert.rejects(asked, (raised: unknown) => {
    assert.ok(raised instanceof TripodError);
    assert.equal(raised.code, "step-failed");
    assert.match(raised.hint, /^look at the image and/);
    return true;
  });
});

test("a warden that goes without a word is an error, for the owner and for whoever asks", async () => {
  const [ours, wardens] = duplexPair();
  const connection = new WardenConnection(ours);
  const asked = connection.state();
  wardens.end();
  await assert.rejects(connection.exited(), isGone);
  await assert.rejects(asked, isGone);
  await assert.rejects(connection.state(), isGone);
});
