/** What is asked of a sandbox while it runs: pause, resume, top, update, events. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { processStartTicks } from "../../src/host/processes.ts";
import { eventually, httpGet, makeLab } from "../support/tripod.ts";

const ways = [
  { mode: "container", argv: ["--mode", "container"] },
  { mode: "unikernel", argv: ["--monitor", "spt"] },
] as const;

for (const { mode, argv } of ways)
  test(`a paused ${mode} is silent until it is resumed, and ends when it is stopped`, async (t) => {
    const lab = makeLab(t);
    const seen = async (key: string): Promise<string> => {
      const all: unknown = JSON.parse(await lab.ok(["inspect", "web"]));
      assert.ok(typeof all === "object" && all !== null);
      return String(Object.entries(all).find(([name]) => name === key)?.[1]);
    };
    await lab.ok(["run", "-d", "--name", "web", ...argv, "httpreply"]);
    const url = `http://${await seen("address")}/healthz`;
    assert.match(await httpGet(url), /ok/);
    await lab.ok(["pause", "web"]);
    assert.equal(await seen("status"), "paused");
    await assert.rejects(fetch(url, { signal: AbortSignal.timeout(1000) }));
    assert.notEqual((await lab.tripod(["pause", "web"])).code, 0);
    await lab.ok(["resume", "web"]);
    assert.match(await httpGet(url), /ok/);
    assert.equal(await seen("status"), "running");
    await lab.ok(["pause", "web"]);
    await lab.ok(["stop", "-t", "2", "web"]);
    assert.equal(await seen("status"), "stopped");
  });

test("a container's processes are listed, its limits changed and its events told; a unikernel has none of these", async (t) => {
  const lab = makeLab(t);
  await lab.ok(["run", "-d", "--name", "box", "--mode", "container", "-m", "64m", "httpreply"]);
  assert.match(await lab.ok(["top", "box"]), /\/httpreply/);
  await lab.ok(["update", "-m", "128m", "--cpus", "0.5", "--pids", "50", "box"]);
  assert.match(await lab.ok(["stats", "--no-stream", "box"]), /128 MiB/);
  const event: unknown = JSON.parse(await lab.ok(["events", "--stats", "box"]));
  assert.match(JSON.stringify(event), /"limit":134217728/);
  assert.match((await lab.tripod(["update", "box"])).stderr, /needs a new limit/);
  assert.match((await lab.tripod(["update", "--pids", "many", "box"])).stderr, /"many"/);
  await lab.ok(["run", "-d", "--name", "guest", "--monitor", "spt", "httpreply"]);
  for (const verb of [["top"], ["update", "-m", "1g"], ["events"]]) {
    const outcome = await lab.tripod([...verb, "guest"]);
    assert.equal(outcome.code, 126, verb.join(" "));
    assert.match(outcome.stderr, /guest is a unikernel/);
  }
});

test("what only a container can have makes it a container, and is refused for a unikernel that was asked for", async (t) => {
  const lab = makeLab(t);
  const volume = ["-v", `${lab.root}:/data`, "--network", "none"];
  const auto = await lab.tripod(["run", "--rm", ...volume, "httpreply", "exit=0"]);
  assert.match(auto.stderr, /container by runc/);
  const refused = await lab.tripod(["run", "--rm", ...volume, "--mode", "unikernel", "httpreply"]);
  assert.equal(refused.code, 125);
  assert.match(refused.stderr, /-v has no meaning in a guest/);
});

test("a container that outlived its warden is not removed without force, and with it ends", async (t) => {
  const lab = makeLab(t);
  const id = (await lab.ok(["run", "-d", "--name", "orphan", "--mode", "container", "httpreply"])).trim();
  const state: unknown = JSON.parse(readFileSync(join(lab.root, "run/default", id, "state.json"), "utf8"));
  assert.ok(typeof state === "object" && state !== null && "warden" in state && "pid" in state);
  const { warden, pid } = state;
  assert.ok(typeof warden === "object" && warden !== null && "pid" in warden);
  process.kill(Number(warden.pid), "SIGKILL");
  await eventually("dead", async () => (/dead/.test(await lab.ok(["ps", "-a"])) ? true : undefined));
  const refused = await lab.tripod(["rm", "orphan"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /still runs[\s\S]*rm -f/);
  assert.notEqual(await processStartTicks(Number(pid)), undefined);
  await lab.ok(["rm", "-f", "orphan"]);
  assert.equal(await processStartTicks(Number(pid)), undefined);
});

test("what exec cannot start has docker's statuses and our words; what it started has its own", async (t) => {
  const lab = makeLab(t);
  await lab.ok(["run", "-d", "--name", "box", "--mode", "container", "--network", "none", "httpreply"]);
  for (const [argv, code] of [
    [["box", "nosuch"], 127],
    [["box", "/etc/hosts"], 126],
    [["-w", "/nowhere", "box", "/httpreply"], 126],
    [["box", "/httpreply", "port=81", "exit=255"], 255],
  ] as const) {
    const outcome = await lab.tripod(["exec", ...argv]);
    assert.equal(outcome.code, code, `${argv.join(" ")}: ${outcome.stderr}`);
    assert.equal(/tripod: exec in box: [\s\S]*hint: /.test(outcome.stderr), code !== 255, outcome.stderr);
  }
});
