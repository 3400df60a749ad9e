import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { decodeMessage } from "../wire/protobuf.ts";
import { metricsV1, metricsV2 } from "../wire/metrics.ts";
import { metricsOf } from "./task-stats.ts";

function groups(t: TestContext, files: Readonly<Record<string, Readonly<Record<string, string>>>>) {
  const dir = mkdtempSync(join(tmpdir(), "tripod-stats-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return new Map(
    Object.entries(files).map(([controller, content]) => {
      const own = join(dir, controller);
      mkdirSync(own);
      for (const [name, text] of Object.entries(content)) writeFileSync(join(own, name), text);
      return [controller, own];
    }),
  );
}

test("figures of version 1 have containerd's names, also those that Kubernetes subtracts", (t) => {
  const { typeUrl, value } = metricsOf(
    groups(t, {
      memory: {
        "memory.stat": "cache 5\npgpgin 6\ntotal_pgmajfault 7\ntotal_inactive_file 4096\nnot_known 1\n",
        "memory.usage_in_bytes": "8192\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
      },
      cpuacct: { "cpuacct.usage": "123456789\n", "cpuacct.usage_percpu": "1 2 \n" },
      pids: { "pids.current": "3\n", "pids.max": "max\n" },
    }),
  );
  assert.equal(typeUrl, "io.containerd.cgroups.v1.Metrics");
  const { cpu, memory, pids, memoryOomControl } = decodeMessage(metricsV1, value);
  assert.deepEqual([cpu?.usage?.total, cpu?.usage?.perCpu], [123_456_789n, [1n, 2n]]);
  assert.deepEqual(
    [memory?.cache, memory?.pgPgIn, memory?.totalPgMajFault, memory?.totalInactiveFile],
    [5n, 6n, 7n, 4096n],
  );
  assert.deepEqual([memory?.usage?.usage, memory?.usage?.limit], [8192n, 9_223_372_036_854_771_712n]);
  assert.deepEqual([pids?.current, pids?.limit], [3n, 0n]);
  assert.equal(memoryOomControl?.oomKill, 2n);
});

test("figures of version 2 as well", (t) => {
  const { typeUrl, value } = metricsOf(
    groups(t, {
      unified: {
        "cpu.stat":
          "usage_usec 12\nuser_usec 7\nsystem_usec 5\nnr_periods 1\nnr_throttled 1\nthrottled_usec 9\n",
        "memory.stat": "anon 1\ninactive_file 2\npgfault 3\nworkingset_nodereclaim 4\n",
        "memory.current": "8192\n",
        "memory.max": "max\n",
        "memory.events": "oom_kill 1\n",
        "pids.current": "3\n",
      },
    }),
  );
  assert.equal(typeUrl, "io.containerd.cgroups.v2.Metrics");
  const { cpu, memory, memoryEvents } = decodeMessage(metricsV2, value);
  assert.deepEqual([cpu?.usageUsec, cpu?.systemUsec, cpu?.throttledUsec], [12n, 5n, 9n]);
  assert.deepEqual(
    [memory?.anon, memory?.inactiveFile, memory?.pgfault, memory?.workingsetNodereclaim, memory?.usage],
    [1n, 2n, 3n, 4n, 8192n],
  );
  assert.equal(memoryEvents?.oomKill, 1n);
});
