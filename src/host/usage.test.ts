import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { ownCgroups, sandboxUsage } from "./usage.ts";

test("only cgroups with the sandbox's id count, cut after it", () => {
  const id = "0123456789abcdef";
  const text = `12:pids:/tripod/default/${id}\n5:memory:/tripod/default/${id}/inner/more\n4:cpu,cpuacct:/\n3:freezer:/../${id}\n1:name=systemd:/x\n0::/tripod/default/${id}\n`;
  assert.deepEqual(Object.fromEntries(ownCgroups(text, id)), {
    pids: `/sys/fs/cgroup/pids/tripod/default/${id}`,
    memory: `/sys/fs/cgroup/memory/tripod/default/${id}`,
    unified: `/sys/fs/cgroup/unified/tripod/default/${id}`,
  });
  assert.deepEqual(Object.fromEntries(ownCgroups(`0::/tripod/default/${id}/x`, id)), {
    unified: `/sys/fs/cgroup/tripod/default/${id}`,
  });
});

test("without a cgroup of its own, the process itself is measured; a gone one is undefined", async () => {
  const child = spawn("/bin/sleep", ["20"]);
  try {
    await once(child, "spawn");
    const usage = await sandboxUsage(child.pid ?? 0, "an id that no cgroup has");
    assert.equal(usage?.processes, 1);
    assert.ok(usage.memoryBytes > 10_000 && usage.memoryBytes < 100_000_000);
    assert.equal(usage.memoryLimitBytes, undefined);
  } finally {
    child.kill("SIGKILL");
    await once(child, "close");
  }
  assert.equal(await sandboxUsage(child.pid ?? 0, "x"), undefined);
});
