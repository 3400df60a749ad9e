import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { hostPath } from "../../spec/paths.ts";
import type { InitrdPart } from "../../spec/values.ts";
import { archive } from "./cpio.ts";

/** As the warden's step `concat` joins them. */
function joined(parts: readonly InitrdPart[]): Buffer {
  let all = Buffer.alloc(0);
  for (const part of parts) {
    const bytes = "path" in part ? readFileSync(part.path) : Buffer.from(part.content, "base64");
    all = Buffer.concat([all, Buffer.alloc((4 - (all.length % 4)) % 4), bytes]);
  }
  return all;
}

function directory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "tripod-cpio-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test("cpio itself unpacks what was written, files of the host among them", (t) => {
  const dir = directory(t);
  const host = hostPath(join(dir, "host"));
  writeFileSync(host, "12345");
  const parts = archive([
    { name: "etc", mode: 0o755 },
    { name: "etc/a", mode: 0o400, content: Buffer.from("abc") },
    { name: "etc/empty", mode: 0o644, content: Buffer.alloc(0) },
    { name: "etc/host", mode: 0o755, content: { path: host, sizeBytes: 5 } },
    { name: "last", mode: 0o600, content: Buffer.from("x") },
  ]);
  const result = spawnSync("cpio", ["-i", "-v", "--no-absolute-filenames"], {
    cwd: dir,
    input: joined(parts),
  });
  if (result.error !== undefined) return t.skip("cpio is not installed");
  assert.equal(result.status, 0, result.stderr.toString());
  assert.equal(readFileSync(join(dir, "etc/a"), "utf8"), "abc");
  assert.equal(readFileSync(join(dir, "etc/host"), "utf8"), "12345");
  assert.equal(readFileSync(join(dir, "last"), "utf8"), "x");
  assert.equal(statSync(join(dir, "etc/empty")).size, 0);
  assert.equal(statSync(join(dir, "etc/a")).mode & 0o7777, 0o400);
  assert.equal(statSync(join(dir, "etc/host")).mode & 0o7777, 0o755);
});

test("property: every header lies on a boundary of 4 bytes, and so does the end", () => {
  const member = fc.record({
    name: fc.string({ unit: fc.constantFrom(..."abc/ä"), minLength: 1, maxLength: 20 }),
    mode: fc.constant(0o644),
    content: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  });
  fc.assert(
    fc.property(fc.array(member), (members) => {
      const bytes = joined(archive(members));
      assert.equal(bytes.length % 4, 0);
      let at = 0;
      for (const { name, content } of members) {
        assert.equal(bytes.toString("latin1", at, at + 6), "070701");
        const size = Number.parseInt(bytes.toString("latin1", at + 54, at + 62), 16);
        const nameSize = Number.parseInt(bytes.toString("latin1", at + 94, at + 102), 16);
        assert.equal(bytes.toString("utf8", at + 110, at + 110 + nameSize - 1), name);
        at = Math.ceil((at + 110 + nameSize) / 4) * 4;
        assert.deepEqual(bytes.subarray(at, at + size), content);
        at = Math.ceil((at + size) / 4) * 4;
      }
      assert.match(bytes.toString("latin1", at), /TRAILER!!!/);
    }),
  );
});
