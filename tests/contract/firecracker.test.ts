/** The example's PVH kernel runs on Firecracker, the same file that QEMU runs. Firecracker is in no registry: the test runs where it is on PATH. */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { requires } from "../support/requires.ts";
import { eventually, runToEnd, tree } from "../support/tripod.ts";

const installed = spawnSync("firecracker", ["--version"], { timeout: 10_000 }).status === 0;

const ip = (...argv: string[]) => runToEnd("ip", argv, { timeoutMs: 10_000 });

test("httpreply's PVH kernel answers under Firecracker", async (t) => {
  if (!requires(t, "firecracker", installed)) return;
  const dir = mkdtempSync(join(tmpdir(), "tripod-fc-"));
  const netns = `tripod-fc-${process.pid}`;
  await ip("netns", "add", netns);
  t.after(async () => {
    await ip("netns", "delete", netns);
    rmSync(dir, { recursive: true, force: true });
  });
  await ip("-n", netns, "tuntap", "add", "tap0", "mode", "tap");
  await ip("-n", netns, "address", "add", "192.0.2.1/24", "dev", "tap0");
  await ip("-n", netns, "link", "set", "tap0", "up");
  const config = join(dir, "config.json");
  writeFileSync(
    config,
    JSON.stringify({
      "boot-source": {
        kernel_image_path: join(tree, "build/httpreply/httpreply.pvh"),
        boot_args: "ip=192.0.2.2/24 gateway=192.0.2.1 monitor=firecracker",
      },
      drives: [],
      "machine-config": { vcpu_count: 1, mem_size_mib: 32 },
      "network-interfaces": [{ iface_id: "eth0", guest_mac: "02:00:00:00:00:02", host_dev_name: "tap0" }],
    }),
  );
  const monitor = spawn("ip", ["netns", "exec", netns, "firecracker", "--no-api", "--config-file", config], {
    stdio: "ignore",
  });
  t.after(() => monitor.kill("SIGKILL"));
  const page = await eventually("an answer", async () => {
    const answer = await runToEnd("ip", [
      "netns",
      "exec",
      netns,
      "curl",
      "-s",
      "--max-time",
      "2",
      "http://192.0.2.2/",
    ]);
    return answer.code === 0 ? answer.stdout : undefined;
  });
  assert.match(page, /monitor: firecracker/);
});
