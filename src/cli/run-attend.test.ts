import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { type TestContext, test } from "node:test";
import { WardenConnection } from "../host/warden.ts";
import { sandboxFile } from "../spec/fixtures.ts";
import { attend } from "./run-attend.ts";
import { capturedTerminal } from "./testing.ts";

/** Attends a sandbox with a terminal, whose workload ends at once with 7; returns what our own terminal was set to. */
async function modesOf(t: TestContext, options: { readonly interactive: boolean }): Promise<boolean[]> {
  const modes: boolean[] = [];
  const before = process.stdin.setRawMode;
  process.stdin.setRawMode = (mode) => {
    modes.push(mode);
    return process.stdin;
  };
  t.after(() => (process.stdin.setRawMode = before));
  const [ours, theirs] = duplexPair();
  const running = { file: { ...sandboxFile, terminal: true }, warden: new WardenConnection(ours) };
  const terminal = capturedTerminal({ inputIsTerminal: true });
  const attended = attend(running, terminal, { signal: new AbortController().signal, take() {} }, options);
  theirs.end(
    `${JSON.stringify({ event: "exit", exitCode: 7, oomKilled: false, finishedAt: "2026-01-01T00:00:00Z" })}\n`,
  );
  assert.equal(await attended, 7);
  return modes;
}

test("keys go to the sandbox as they are when it reads them", async (t) => {
  assert.deepEqual(await modesOf(t, { interactive: true }), [true, false]);
});

test("a terminal whose keys nobody reads keeps its own Ctrl-C", async (t) => {
  assert.deepEqual(await modesOf(t, { interactive: false }), []);
});
