import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { withKeySignals } from "./key-signals.ts";

test("Ctrl-C and Ctrl-\\ of a raw terminal become signals while the work goes on, other keys nothing", async () => {
  const input = new PassThrough();
  const sent: number[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const work = withKeySignals(
    input,
    (signal) => void (sent.push(signal) === 2 && resolve()),
    () => promise.then(() => 7),
  );
  input.write("abc\u0003");
  input.write("\u001c");
  assert.equal(await work, 7);
  assert.deepEqual(sent, [2, 3]);
  assert.equal(input.listenerCount("data"), 0);
  assert.ok(input.isPaused());
});
