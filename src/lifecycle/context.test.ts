import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { rootsOf } from "./context.ts";

function temporaryDir(t: TestContext): string {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "tripod-context-")));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test("symbolic links in the root are resolved, whether or not what they lead to holds anything yet", (t) => {
  const dir = temporaryDir(t);
  mkdirSync(join(dir, "real"));
  symlinkSync("real", join(dir, "link"));
  const roots = { run: join(dir, "real/run"), lib: join(dir, "real/lib") };
  assert.deepEqual(rootsOf(join(dir, "link")), roots);
  assert.deepEqual(rootsOf(join(dir, "link/../link/")), roots);
  assert.deepEqual(rootsOf(join(dir, "link/deep/er")).run, join(dir, "real/deep/er/run"));
  mkdirSync(join(dir, "disk"));
  symlinkSync("../disk", join(dir, "real/lib"));
  assert.deepEqual(rootsOf(join(dir, "link")), { run: join(dir, "real/run"), lib: join(dir, "disk") });
});

test("a root is absolute and not the system's own", (t) => {
  const dir = temporaryDir(t);
  symlinkSync("/", join(dir, "slash"));
  for (const root of ["/", "", "relative", join(dir, "slash"), "//"])
    assert.throws(() => rootsOf(root), /--root must be an absolute directory other than \//);
});
