/** The main job, as a user does it: one image, each of its ways to run, an address that answers, and nothing left. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { searchDirs, which } from "../../src/host/process.ts";
import { assertNothingLeft, traces } from "../support/leftovers.ts";
import { requires } from "../support/requires.ts";
import { eventually, httpGet, makeLab, outcomeOf } from "../support/tripod.ts";

const ways = [
  { mode: "container", argv: ["--mode", "container"], says: "mode: container" },
  { mode: "unikernel", argv: ["--mode", "unikernel", "--monitor", "spt"], says: "monitor: spt" },
  { mode: "unikernel", argv: ["--mode", "unikernel", "--monitor", "hvt"], says: "monitor: hvt" },
  { mode: "unikernel", argv: ["--mode", "unikernel", "--monitor", "qemu"], says: "monitor: qemu" },
  {
    mode: "unikernel",
    argv: ["--monitor", "firecracker"],
    says: "monitor: firecracker",
    needs: "firecracker",
  },
];

for (const { mode, argv, says, needs } of ways) {
  test(`httpreply answers with ${says} and leaves nothing after rm -f`, async (t) => {
    if (
      needs !== undefined &&
      !requires(t, needs, which(needs, searchDirs(process.env["PATH"])) !== undefined)
    )
      return;
    const lab = makeLab(t);
    // Bridge, base chains and caches stand after a first run.
    await lab.ok(["run", "--rm", "--mode", "container", "httpreply", "exit=0"]);
    const before = traces(lab.root);
    const id = (await lab.ok(["run", "-d", "--name", "web", ...argv, "httpreply"])).trim();
    assert.match(id, /^[0-9a-f]{32}$/);
    const seen: unknown = JSON.parse(await lab.ok(["inspect", "-o", "json", "web"]));
    assert.ok(
      typeof seen === "object" && seen !== null && "address" in seen && typeof seen.address === "string",
    );
    const page = await httpGet(`http://${seen.address}/`);
    assert.match(page, new RegExp(says));
    assert.match(page, new RegExp(`mode: ${mode}`));
    assert.equal((await httpGet(`http://${seen.address}/healthz`)).trim(), "ok");
    assert.match(await lab.ok(["logs", "web"]), /listening on/);
    await lab.ok(["rm", "-f", "web"]);
    await assertNothingLeft(lab.root, before, `by httpreply with ${says}`);
  });
}

test("a published port answers from loopback and from the host's address, and is free again afterwards", async (t) => {
  const lab = makeLab(t);
  for (const argv of [
    ["--mode", "container"],
    ["--monitor", "spt"],
  ]) {
    await lab.ok(["run", "-d", "--name", "web", "-p", "18080:80", ...argv, "httpreply"]);
    assert.match(await httpGet("http://127.0.0.1:18080/"), /httpreply/);
    const taken = await lab.tripod(["run", "-d", "--name", "other", "-p", "18080:80", ...argv, "httpreply"]);
    assert.notEqual(taken.code, 0);
    assert.match(taken.stderr, /18080/);
    await lab.ok(["rm", "-f", "web"]);
  }
  assert.equal((await lab.ok(["ps", "-a", "-q"])).trim(), "");
});

test("Ctrl-C ends a run in the foreground and leaves nothing", async (t) => {
  const lab = makeLab(t);
  await lab.ok(["run", "--rm", "--dry-run", "httpreply"]);
  const child = lab.start(["run", "httpreply"]);
  let story = "";
  child.stderr?.on("data", (chunk: Buffer) => (story += chunk.toString()));
  const ended = outcomeOf(child, "run httpreply", 30_000);
  const address = await eventually("the address", () => /http:\/\/([\d.]+)/.exec(story)?.[1]);
  await httpGet(`http://${address}/`);
  child.kill("SIGINT");
  await ended;
  assert.equal((await lab.ok(["ps", "-a", "-q"])).trim(), "");
});

test("the exit status, the words and the reason are told without running anything by --dry-run", async (t) => {
  const lab = makeLab(t);
  const plan: unknown = JSON.parse(
    await lab.ok(["run", "--dry-run", "-o", "json", "--monitor", "spt", "httpreply"]),
  );
  assert.ok(
    typeof plan === "object" &&
      plan !== null &&
      "decision" in plan &&
      "ground" in plan &&
      "launch" in plan &&
      "argv" in plan,
  );
  assert.equal((await lab.ok(["ps", "-a", "-q"])).trim(), "");
});
