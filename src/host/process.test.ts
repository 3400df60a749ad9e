import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { runProgram, searchDirs, which } from "./process.ts";

const code = (wanted: string) => (error: unknown) => error instanceof TripodError && error.code === wanted;

test("gives status, output and an environment of exactly what was asked", async () => {
  process.env["TRIPOD_TEST_SECRET"] = "do not leak";
  const result = await runProgram("/usr/bin/env", [], { env: { ONLY: "this" }, deadlineMs: 5000 });
  assert.deepEqual(result, { code: 0, signal: undefined, stdout: "ONLY=this\n", stderr: "" });
  delete process.env["TRIPOD_TEST_SECRET"];
});

test("passes arguments as they are, without a shell", async () => {
  const result = await runProgram("/bin/echo", ["$(id)", "a  b", "*"], { deadlineMs: 5000 });
  assert.equal(result.stdout, "$(id) a  b *\n");
});

test("gives input, and a non-zero status as a result", async () => {
  const result = await runProgram("/bin/sh", ["-c", "cat; exit 7"], { input: "hallo", deadlineMs: 5000 });
  assert.equal(result.stdout, "hallo");
  assert.equal(result.code, 7);
});

test("tells a signal as 128 and its number", async () => {
  const result = await runProgram("/bin/sh", ["-c", "kill -TERM $$"], { deadlineMs: 5000 });
  assert.equal(result.code, 143);
  assert.equal(result.signal, "SIGTERM");
});

test("kills the whole group at the deadline and tells what was said", async () => {
  const began = Date.now();
  await assert.rejects(
    runProgram("/bin/sh", ["-c", "echo waiting >&2; sleep 61.17 & sleep 61.17"], { deadlineMs: 300 }),
    (error: unknown) => code("timeout")(error) && /300 ms; it said: waiting/.test(String(error)),
  );
  assert.ok(Date.now() - began < 5000);
  const left = await runProgram("/usr/bin/pgrep", ["-f", "^sleep 61.17"], { deadlineMs: 5000 });
  assert.equal(left.stdout, "");
});

test("ends a background child that outlives its parent", async () => {
  await runProgram("/bin/sh", ["-c", "sleep 62.23 >/dev/null 2>&1 & exit 0"], { deadlineMs: 5000 });
  const left = await runProgram("/usr/bin/pgrep", ["-f", "^sleep 62.23"], { deadlineMs: 5000 });
  assert.equal(left.stdout, "");
});

test("refuses endless output", async () => {
  await assert.rejects(
    runProgram("/usr/bin/yes", [], { deadlineMs: 10_000, maxOutputBytes: 4096 }),
    code("program-failed"),
  );
});

test("tells a missing program, and obeys an abort before and during", async () => {
  await assert.rejects(runProgram("/nowhere/at/all", [], { deadlineMs: 1000 }), code("program-failed"));
  await assert.rejects(
    runProgram("/bin/sleep", ["30"], { deadlineMs: 9000, signal: AbortSignal.abort(new Error("no")) }),
    /no/,
  );
  const abort = new AbortController();
  const running = runProgram("/bin/sleep", ["30"], { deadlineMs: 9000, signal: abort.signal });
  abort.abort(new Error("changed my mind"));
  await assert.rejects(running, /changed my mind/);
});

test("which finds only executable regular files, first directory first", () => {
  const dir = mkdtempSync(join(tmpdir(), "tripod-which-"));
  try {
    mkdirSync(join(dir, "a/tool"), { recursive: true });
    mkdirSync(join(dir, "b"));
    mkdirSync(join(dir, "c"));
    writeFileSync(join(dir, "b/tool"), "not executable");
    writeFileSync(join(dir, "c/tool"), "");
    chmodSync(join(dir, "c/tool"), 0o755);
    const dirs = ["a", "b", "c"].map((name) => join(dir, name));
    assert.equal(which("tool", dirs), join(dir, "c/tool"));
    assert.equal(which("other", dirs), undefined);
    assert.equal(which("b/tool", dirs), undefined);
    assert.equal(which(join(dir, "c/tool"), []), join(dir, "c/tool"));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("search directories are absolute and unique", () => {
  const dirs = searchDirs("/opt/x:.:relative::/usr/bin:/opt/x");
  assert.equal(dirs[0], "/opt/x");
  assert.ok(dirs.every((dir) => dir.startsWith("/")));
  assert.equal(new Set(dirs).size, dirs.length);
});
