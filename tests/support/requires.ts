/** A test states what it needs; a skip is printed and must be on the committed list, else it fails. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { tree } from "./tripod.ts";

const expected = new Set(
  readFileSync(join(tree, "tests/expected-skips.txt"), "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#")),
);

/**
 * Skips the test where `has` is false: returns false then, and the test must return. Throws when the need is not on the list of expected skips: a machine that
 * lacks it should be noticed, not passed over.
 */
export function requires(t: TestContext, need: string, has: boolean): boolean {
  if (has) return true;
  if (!expected.has(need))
    throw new Error(`this test needs ${need}, and that skip is not listed in tests/expected-skips.txt`);
  t.skip(`needs ${need}`);
  return false;
}
