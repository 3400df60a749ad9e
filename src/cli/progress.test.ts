import assert from "node:assert/strict";
import { test } from "node:test";
import { progressLine } from "./progress.ts";
import { capturedTerminal } from "./testing.ts";

test("progress is drawn at intervals on a terminal, and taken away", () => {
  const terminal = capturedTerminal({ showsProgress: true });
  let now = 0;
  const line = progressLine(terminal, "app", () => now);
  line.show({ doneBytes: 0, totalBytes: 1024 });
  line.show({ doneBytes: 10, totalBytes: 1024 });
  now = 150;
  line.show({ doneBytes: 512, totalBytes: 1024 });
  line.end();
  const half = `${"=".repeat(12)}${" ".repeat(12)}`;
  assert.equal(
    terminal.stderr(),
    `\r\u001b[Kapp [${" ".repeat(24)}] 0 B of 1 KiB\r\u001b[Kapp [${half}] 512 B of 1 KiB\r\u001b[K`,
  );
});

test("nothing is drawn elsewhere", () => {
  const terminal = capturedTerminal();
  const line = progressLine(terminal, "app");
  line.show({ doneBytes: 1, totalBytes: 0 });
  line.end();
  assert.equal(terminal.stderr() + terminal.stdout(), "");
});
