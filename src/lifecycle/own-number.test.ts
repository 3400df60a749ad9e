import assert from "node:assert/strict";
import { test } from "node:test";
import { ownNumber } from "./own-number.ts";

test("the number of an id is always the same, in its range, and seldom another's", () => {
  assert.equal(ownNumber("web"), ownNumber("web"));
  const ids = Array.from({ length: 2000 }, (_, index) => `pod-${index}`);
  const numbers = ids.map(ownNumber);
  for (const number of numbers) assert.ok(number >= 0x7000_0000 && number < 0x7100_0000, String(number));
  // Of 2000 in 2^24 one pair in eight tries would be chance; many would be a bad hash.
  assert.ok(new Set(numbers).size >= ids.length - 2);
  assert.equal(new Set(numbers.map((number) => number >>> 20)).size, 16);
});
