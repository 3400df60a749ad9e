import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { plans, stepKinds, vectorDirectory, vectorFiles } from "./vectors.ts";

for (const [name, text] of Object.entries(vectorFiles))
  test(`native/vectors/${name} is what the typed literals say`, async () => {
    const committed = await readFile(new URL(name, vectorDirectory), "utf8");
    assert.equal(committed, text, "regenerate with: script/generate.mjs");
  });

test("every kind of step is in the vectors", () => {
  const seen = new Set<string>(plans.flatMap((plan) => plan.steps.map((step) => step.do)));
  assert.deepEqual([...seen].toSorted(), Object.keys(stepKinds).toSorted());
});
