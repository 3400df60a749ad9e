import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { which } from "./process.ts";
import { makeDirectories, stateError } from "./state-error.ts";

const isRoot = process.geteuid?.() === 0;
const needsRoot = { skip: !isRoot && "needs root" };

function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "tripod-state-error-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o755);
  return dir;
}

/** Does something as nobody. */
function unprivileged<Value>(act: () => Value): Value {
  process.seteuid?.(65534);
  try {
    return act();
  } finally {
    process.seteuid?.(0);
  }
}

function failure(errno: string): string {
  const error = stateError(Object.assign(new Error("it failed"), { code: errno }), "/x cannot be written");
  return error instanceof TripodError ? `${error.code}: ${error.message}` : "as it was";
}

test("what the state's directories refuse has a code of its own, with the path and why", () => {
  assert.equal(failure("EROFS"), "state-unwritable: /x cannot be written: its file system is read-only");
  assert.match(failure("ENOTDIR"), /^state-unwritable: \/x .* not a directory$/);
  assert.match(failure("ENOSPC"), /^disk-full: \/x .*no space left$/);
  assert.equal(failure("EIO"), "as it was");
});

test("what root alone may do says so to anybody else", needsRoot, () => {
  assert.equal(failure("EACCES"), "state-unwritable: /x cannot be written: EACCES");
  assert.equal(
    unprivileged(() => failure("EACCES")),
    "not-root: /x cannot be written: EACCES",
  );
});

test("directories are made with those above them, and a file in the way is told as one", (t) => {
  const dir = temporaryDir(t);
  makeDirectories(join(dir, "a/b/c"));
  makeDirectories(join(dir, "a/b/c"));
  assert.equal(statSync(join(dir, "a/b")).mode & 0o777, 0o700);
  writeFileSync(join(dir, "file"), "");
  assert.throws(() => makeDirectories(join(dir, "file/x")), { code: "ENOTDIR" });
  assert.throws(() => makeDirectories(join(dir, "file")), { code: "EEXIST" });
  symlinkSync("nothing", join(dir, "link"));
  assert.throws(() => makeDirectories(join(dir, "link")), { code: "EEXIST" });
});

test("an unreadable directory in PATH is passed over", needsRoot, (t) => {
  const dir = temporaryDir(t);
  mkdirSync(join(dir, "shut"));
  mkdirSync(join(dir, "open"));
  for (const name of ["shut/program", "open/program"]) writeFileSync(join(dir, name), "", { mode: 0o755 });
  chmodSync(join(dir, "shut"), 0o700);
  const dirs = [join(dir, "shut"), join(dir, "open")];
  assert.equal(
    unprivileged(() => which("program", dirs)),
    join(dir, "open/program"),
  );
});
