import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { TripodError } from "../spec/errors.ts";
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

test("a root where no directory can be is refused, naming what is in the way", (t) => {
  const dir = temporaryDir(t);
  writeFileSync(join(dir, "file"), "");
  symlinkSync("nothing", join(dir, "dangling"));
  symlinkSync("circle", join(dir, "circle"));
  mkdirSync(join(dir, "half"));
  writeFileSync(join(dir, "half/lib"), "");
  for (const [root, message] of [
    [join(dir, "file"), `${dir}/file, where state is to be kept, is not a directory`],
    [join(dir, "file/below"), /file\/below cannot be used: something in its path is not a directory/],
    ["/dev/null", "/dev/null, where state is to be kept, is not a directory"],
    [join(dir, "dangling"), `${dir}/dangling is a symbolic link to nothing`],
    [join(dir, "circle"), /circle cannot be used: its symbolic links lead in a circle/],
    [join(dir, "half"), `${dir}/half/lib, where state is to be kept, is not a directory`],
  ] as const)
    assert.throws(
      () => rootsOf(root),
      (error) =>
        error instanceof TripodError &&
        error.code === "state-unwritable" &&
        (typeof message === "string" ? error.message === message : message.test(error.message)),
      root,
    );
});
