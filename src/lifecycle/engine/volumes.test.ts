import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { decodeEngineConfig } from "../../spec/engine-config.ts";
import { hostPath } from "../../spec/paths.ts";
import { volumesOf } from "./volumes.ts";

const bundle = (t: TestContext, mounts: readonly object[]): Parameters<typeof volumesOf>[0] => {
  const dir = hostPath(mkdtempSync(join(tmpdir(), "tripod-volumes-")));
  t.after(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, "data"));
  writeFileSync(join(dir, "hosts"), "127.0.0.1 localhost\n", { mode: 0o640 });
  return { dir, config: decodeEngineConfig({ ociVersion: "1.0.2", mounts }, "config.json") };
};

test("bind mounts are read as runc reads them, in their order; other mounts are the guest's own business", (t) => {
  const given = bundle(t, [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/a//b/../data/", type: "bind", source: "data", options: ["rbind", "ro", "rprivate"] },
    { destination: "etc/hosts", type: "none", source: "hosts", options: ["bind", "ro", "rw"] },
    { destination: "/../../x", type: "bind", source: "data" },
  ]);
  const { dir } = given;
  assert.deepEqual(volumesOf(given), [
    { from: `${dir}/data`, at: "/a/data", readonly: true, recursive: true },
    {
      from: `${dir}/hosts`,
      at: "/etc/hosts",
      readonly: false,
      recursive: false,
      file: { mode: 0o640, sizeBytes: 20 },
    },
    { from: `${dir}/data`, at: "/x", readonly: false, recursive: false },
  ]);
});

test("a source that is missing and the root as a destination are refused by name", (t) => {
  for (const [mount, message] of [
    [{ destination: "/a", type: "bind", source: "nowhere" }, /mounts\.0\.source: .*nowhere.*ENOENT/],
    [{ destination: "/a", type: "bind" }, /mounts\.0\.source is missing/],
    [{ destination: "/a/..", type: "bind", source: "data" }, /mounts\.0\.destination is the root/],
  ] as const)
    assert.throws(() => volumesOf(bundle(t, [mount])), message);
});
