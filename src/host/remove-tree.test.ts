import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { hostPath } from "../spec/paths.ts";
import { runProgram } from "./process.ts";
import { removeTree } from "./remove-tree.ts";

const scratch = mkdtempSync(join(tmpdir(), "tripod-remove-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const beneath = hostPath(scratch);

test("removes a tree, links themselves and not what they point to; twice is no error", async () => {
  const outside = join(scratch, "outside");
  const tree = join(scratch, "tree");
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "");
  mkdirSync(join(tree, "a/b"), { recursive: true });
  writeFileSync(join(tree, "a/b/file"), "");
  symlinkSync(outside, join(tree, "a/link"));
  await removeTree(hostPath(tree), { beneath });
  assert.ok(!existsSync(tree));
  assert.ok(existsSync(join(outside, "kept")));
  await removeTree(hostPath(tree), { beneath });
});

test("refuses what is not beneath the given directory", async () => {
  for (const path of ["/etc/hostname", scratch, `${scratch}/../x`, `${scratch}x`, `${scratch}/a/../..`])
    await assert.rejects(removeTree(hostPath(path), { beneath }), /refusing to remove/);
});

test("does not cross a mount", { skip: process.geteuid?.() !== 0 && "needs root" }, async () => {
  const at = join(scratch, "mounted/here");
  mkdirSync(at, { recursive: true });
  const mount = await runProgram("/bin/mount", ["-t", "tmpfs", "tmpfs", at], { deadlineMs: 5000 });
  assert.equal(mount.code, 0, mount.stderr);
  try {
    writeFileSync(join(at, "precious"), "");
    await assert.rejects(removeTree(hostPath(join(scratch, "mounted")), { beneath }), /something is mounted/);
    assert.ok(existsSync(join(at, "precious")));
  } finally {
    await runProgram("/bin/umount", [at], { deadlineMs: 5000 });
  }
});
