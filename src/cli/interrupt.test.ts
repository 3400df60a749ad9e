import assert from "node:assert/strict";
import { test } from "node:test";
import { interruptible } from "./interrupt.ts";

test("what is interrupted ends with the signal's status, whatever it threw", async () => {
  const status = await interruptible(async ({ signal }) => {
    process.emit("SIGTERM", "SIGTERM");
    signal.throwIfAborted();
    return 0;
  });
  assert.equal(status, 143);
});

test("once taken, signals are the taker's and the work's own status counts", async () => {
  let heard = 0;
  const status = await interruptible(async ({ signal, take }) => {
    take(() => (heard += 1));
    process.emit("SIGINT", "SIGINT");
    process.emit("SIGINT", "SIGINT");
    assert.equal(signal.aborted, false);
    return 7;
  });
  assert.deepEqual([heard, status], [2, 7]);
});

test("a signal that came before it was taken is not lost", async () => {
  let heard = 0;
  const status = await interruptible(async ({ take }) => {
    process.emit("SIGHUP", "SIGHUP");
    take(() => (heard += 1));
    return 7;
  });
  assert.deepEqual([heard, status], [1, 7]);
});

test("nobody listens any more afterwards, and errors of uninterrupted work are its own", async () => {
  const before = process.listenerCount("SIGINT");
  await assert.rejects(
    interruptible(() => Promise.reject(new Error("its own"))),
    /its own/,
  );
  assert.equal(process.listenerCount("SIGINT"), before);
});
