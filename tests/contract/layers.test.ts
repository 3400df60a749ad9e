import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { runProgram } from "../../src/host/process.ts";

const script = join(import.meta.dirname, "../../script/layers.mjs");

/** Runs the check over a tree of the given files and returns what it says, a line each, from `src/` on. */
async function check(files: Readonly<Record<string, string>>): Promise<string[]> {
  const dir = mkdtempSync(join(tmpdir(), "tripod-layers-"));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, "src", path)), { recursive: true });
      writeFileSync(join(dir, "src", path), text);
    }
    const result = await runProgram(process.execPath, [script, join(dir, "src")], {
      deadlineMs: 20_000,
      cwd: dir,
    });
    assert.equal(result.stderr, "");
    const lines = result.stdout.split("\n").filter((line) => line !== "");
    assert.equal(result.code, lines.length === 0 ? 0 : 1);
    return lines;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

test("imports of what is above pass", async () => {
  const said = await check({
    "spec/a.ts": "export const a = 1;",
    "select/b.ts": 'import { a } from "../spec/a.ts";',
    "mode/c.ts": 'import "../select/b.ts";\nimport "../monitor/m.ts"; import "../guest/g.ts";',
    "monitor/m.ts": "",
    "guest/g.ts": '// import fs from "node:fs"\n/* import "../cli/x.ts" */',
    "host/h.ts": 'import { readFileSync } from "node:fs";',
    "cli/x.ts": 'const h = await import("../host/h.ts");',
    "select/b.test.ts": 'import { readFileSync } from "node:fs";',
  });
  assert.deepEqual(said, []);
});

test("each kind of violation is told with file and line", async () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["spec/a.ts", '\n\nimport "../select/b.ts";', /^src\/spec\/a\.ts:3: .*below/],
    ["host/a.ts", 'export * from "../cli/x.ts";', /:1: .*below/],
    ["host/a.ts", 'export { x } from "../lifecycle/x.ts";', /below/],
    ["select/a.ts", 'import type { G } from "../guest/g.ts";', /below/],
    ["guest/a.ts", 'import "../monitor/m.ts";', /plain data/],
    ["monitor/a.ts", 'import "../guest/g.ts";', /plain data/],
    ["monitor/a.ts", 'const x = () => import("../guest/g.ts");', /plain data/],
    ["mode/a.ts", 'import {\n  spawn,\n} from "node:child_process";', /:3: .*pure/],
    ["wire/a.ts", 'import fs from "fs/promises";', /pure/],
    ["spec/a.ts", "export const home = process.env.HOME;", /look at the process/],
    ["spec/a.test.ts", 'import "../cli/x.ts";', /below/],
    ["misc/a.ts", "", /no place/],
    ["cli/a.ts", 'import x from "../../tests/x.ts";', /outside of src/],
    ["cli/a.ts", 'import x from "../misc/x.ts";', /below/],
  ];
  for (const [path, text, expected] of cases) {
    const said = await check({ [path]: text });
    assert.equal(said.length, 1, `${path}: ${text}: ${said.join("; ")}`);
    assert.match(said[0] ?? "", expected);
  }
});
