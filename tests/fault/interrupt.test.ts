/** Ctrl-C at any moment of a start: the command ends and nothing is left, whether the sandbox ran already or not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { makeLab, outcomeOf } from "../support/tripod.ts";

const ways = [
  ["--mode", "container"],
  ["--monitor", "spt"],
] as const;

for (const way of ways)
  test(
    `a run by ${way.join(" ")} leaves nothing whenever it is interrupted`,
    { timeout: 300_000 },
    async (t) => {
      const lab = makeLab(t);
      await lab.ok(["run", "--rm", ...way, "httpreply", "exit=0"]);
      const before = traces(lab.root);
      const begun = performance.now();
      await lab.ok(["run", "--rm", ...way, "httpreply", "exit=0"]);
      const wholeMs = performance.now() - begun;
      const steps = 40;
      let early = 0;
      for (let step = 0; step < steps; step++) {
        // From before Node has read its program to well after the sandbox serves.
        const child = lab.start(["run", ...way, "httpreply"]);
        const ended = outcomeOf(child, `run, interrupted at ${step} of ${steps}`, 30_000);
        await new Promise((resolve) => setTimeout(resolve, (step / steps) * 1.5 * wholeMs));
        child.kill(step % 2 === 0 ? "SIGINT" : "SIGTERM");
        const { code, signal, stderr } = await ended;
        if (!stderr.includes("http://")) early += 1;
        assert.ok(signal !== null || code === 0 || code === 130 || code === 143, `${code}: ${stderr}`);
        assert.equal((await lab.ok(["ps", "-a", "-q"])).trim(), "", `interrupted at ${step} of ${steps}`);
      }
      assert.ok(early > 0 && early < steps, `${early} of ${steps} were interrupted before the sandbox ran`);
      await assertNothingLeft(lab.root, before, "by interrupted runs");
    },
  );
