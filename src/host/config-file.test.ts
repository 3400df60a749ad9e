import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { defaultConfig } from "../spec/config.ts";
import { TripodError } from "../spec/errors.ts";
import { loadConfig, mergeTables } from "./config-file.ts";

const scratch = mkdtempSync(join(tmpdir(), "tripod-config-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(scratch, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const invalid = (message: RegExp) => (error: unknown) =>
  error instanceof TripodError && error.code === "config-invalid" && message.test(error.message);

test("an empty file is the default; a named one must be there", async () => {
  assert.deepEqual(await loadConfig(file("empty.toml", "")), defaultConfig);
  await assert.rejects(loadConfig(join(scratch, "none.toml")), invalid(/none\.toml is not there/));
});

test("drop-ins win in the order of their names, key by key", async () => {
  const path = file("a.toml", '[network]\ndefault = "none"\n[log]\nfiles = 5\nmax_size = "1Mi"\n');
  file("a.d/20-b.toml", "[log]\nfiles = 7\n");
  file("a.d/10-a.toml", "[log]\nfiles = 6\n");
  file("a.d/ignored.conf", "nonsense");
  const config = await loadConfig(path);
  assert.equal(config.network.default, "none");
  assert.deepEqual(config.log, { maxBytes: 1 << 20, files: 7 });
});

test("an error names the file it stands in", async () => {
  const path = file("b.toml", "");
  const dropIn = file("b.d/x.toml", "[log]\nfile = 7\n");
  await assert.rejects(loadConfig(path), invalid(new RegExp(`${dropIn}.*file.*files`, "s")));
  writeFileSync(dropIn, "[log\n");
  await assert.rejects(loadConfig(path), invalid(new RegExp(dropIn)));
  await assert.rejects(loadConfig(scratch), invalid(/is not a file/));
});

test("merging keeps what is not overridden and cannot reach a prototype", () => {
  assert.deepEqual(mergeTables({ a: 1, b: { c: 2, d: [1] } }, { b: { d: [2] } }), {
    a: 1,
    b: { c: 2, d: [2] },
  });
  mergeTables({}, JSON.parse('{"__proto__":{"polluted":true}}'));
  assert.equal("polluted" in {}, false);
});
