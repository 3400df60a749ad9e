import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setLimits } from "./cgroup-limits.ts";
import { cgroupStats, oomKills } from "./cgroup-stats.ts";

/** A directory in a cgroup's place, with the files that are given. */
function cgroup(t: TestContext, files: Readonly<Record<string, string>>): string {
  const dir = mkdtempSync(join(tmpdir(), "tripod-cgroup-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

const contents = (dir: string): Record<string, string> =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), "utf8")]));

test("limits of the unified hierarchy are written in its words, and what is not given stays", (t) => {
  const dir = cgroup(t, { "cpu.max": "max 100000\n" });
  const groups = new Map([["unified", dir]]);
  setLimits(groups, { memoryBytes: 64 << 20, cpuQuotaUs: 50_000, cpuShares: 1024, pids: -1 });
  assert.deepEqual(contents(dir), {
    "cpu.max": "50000 100000",
    "cpu.weight": "39",
    "memory.max": `${64 << 20}`,
    "pids.max": "max",
  });
  setLimits(groups, { memoryBytes: -1, cpuPeriodUs: 20_000 });
  assert.equal(contents(dir)["memory.max"], "max");
  assert.equal(contents(dir)["cpu.max"], "50000 20000");
});

test("limits of version 1 go to each controller's own hierarchy, swap along with memory", (t) => {
  const memory = cgroup(t, { "memory.limit_in_bytes": "1000\n", "memory.memsw.limit_in_bytes": "1000\n" });
  const cpu = cgroup(t, {});
  const groups = new Map([
    ["memory", memory],
    ["cpu", cpu],
  ]);
  setLimits(groups, { memoryBytes: 2000, cpuQuotaUs: -1, cpuShares: 512 });
  assert.deepEqual(contents(memory), {
    "memory.limit_in_bytes": "2000",
    "memory.memsw.limit_in_bytes": "2000",
  });
  assert.deepEqual(contents(cpu), { "cpu.cfs_quota_us": "-1", "cpu.shares": "512" });
  assert.throws(() => setLimits(groups, { pids: 5 }), /pids cannot be set: it is not mounted/);
});

test("statistics of both hierarchies have runc's form; a file that is gone is left out", (t) => {
  const v2 = cgroup(t, {
    "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 2\nthrottled_usec 5\n",
    "memory.current": "4096\n",
    "memory.max": "max\n",
    "memory.stat": "anon 1\nfile 2\n",
    "memory.events": "low 0\nmax 3\noom_kill 1\n",
    "pids.current": "2\n",
    "pids.max": "max\n",
  });
  const stats = cgroupStats(new Map([["unified", v2]]));
  assert.deepEqual(stats.cpu, {
    usage: { total: 30_000, kernel: 10_000, user: 20_000 },
    throttling: { throttledPeriods: 2, throttledTime: 5000 },
  });
  assert.deepEqual(stats.memory.usage, { limit: 9_223_372_036_854_771_712, usage: 4096, failcnt: 3 });
  assert.deepEqual(stats.memory.raw, { anon: 1, file: 2 });
  assert.deepEqual(stats.pids, { current: 2 });
  assert.equal(oomKills(new Map([["unified", v2]])), 1);

  const v1 = cgroup(t, {});
  mkdirSync(join(v1, "m"));
  writeFileSync(join(v1, "m/memory.limit_in_bytes"), "100\n");
  writeFileSync(join(v1, "m/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
  const memory = new Map([["memory", join(v1, "m")]]);
  assert.deepEqual(cgroupStats(memory).memory.usage, { limit: 100, failcnt: 0 });
  assert.equal(oomKills(memory), 4);
  assert.deepEqual(cgroupStats(new Map()).pids, {});
});
