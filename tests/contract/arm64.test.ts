/** The example's kernel for arm64 boots in QEMU's virt machine, by emulation: it answers, it sleeps when there is nothing to do, and it ends the machine. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { requires } from "../support/requires.ts";
import { eventually, outcomeOf, runToEnd, tree } from "../support/tripod.ts";

const qemu = "/usr/bin/qemu-system-aarch64";
const image = join(tree, "build/httpreply/arm64/httpreply.image");

/** Interrupt controllers, and the mode that the processor starts in. */
const machines = ["virt,gic-version=2", "virt,gic-version=3", "virt,gic-version=3,virtualization=on"];

const ip = async (...argv: string[]) => {
  const outcome = await runToEnd("ip", argv, { timeoutMs: 10_000 });
  assert.equal(outcome.code, 0, outcome.stderr);
};

/** What the machine's process has used, in hundredths of a second. */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

const argumentsOf = (machine: string, bootLine: string): string[] => [
  ..."-cpu max -m 16M -nodefaults -no-user-config -no-reboot -display none -serial stdio".split(" "),
  ..."-accel tcg,tb-size=32 -global virtio-mmio.force-legacy=false".split(" "),
  "-M",
  machine,
  "-kernel",
  image,
  "-append",
  bootLine,
];

function isPossible(t: TestContext): boolean {
  return (
    requires(t, "qemu-system-aarch64", existsSync(qemu)) &&
    requires(t, "httpreply for arm64 (script/build-httpreply arm64, by rustup)", existsSync(image))
  );
}

for (const machine of machines)
  test(`httpreply for arm64 answers on ${machine}, and sleeps when nobody asks`, async (t) => {
    if (!isPossible(t)) return;
    const netns = `tripod-arm64-${process.pid}`;
    await ip("netns", "add", netns);
    t.after(() => ip("netns", "delete", netns));
    await ip("-n", netns, "tuntap", "add", "tap0", "mode", "tap");
    await ip("-n", netns, "address", "add", "192.0.2.1/24", "dev", "tap0");
    await ip("-n", netns, "link", "set", "tap0", "up");
    const inside = ["netns", "exec", netns];
    const child = spawn(
      "ip",
      [
        ...inside,
        qemu,
        ...argumentsOf(machine, "ip=192.0.2.2/24 gateway=192.0.2.1 monitor=qemu"),
        ..."-netdev tap,id=net0,ifname=tap0,script=no,downscript=no".split(" "),
        ..."-device virtio-net-device,netdev=net0".split(" "),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const ended = outcomeOf(child, qemu, 60_000);
    t.after(() => child.kill("SIGKILL"));
    const page = await eventually("an answer", async () => {
      const answer = await runToEnd("ip", [...inside, "curl", "-s", "--max-time", "2", "http://192.0.2.2/"]);
      return answer.code === 0 ? answer.stdout : undefined;
    });
    assert.match(page, /^httpreply\nmode: unikernel\nmonitor: qemu\n/);
    const pid = child.pid ?? 0;
    const before = processorTime(pid);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const used = processorTime(pid) - before;
    assert.ok(used <= 10, `${used} hundredths of a second`);
    child.kill("SIGTERM");
    const { stdout } = await ended;
    assert.equal(stdout, "httpreply: unikernel on qemu, listening on 192.0.2.2:80\n");
  });

test("httpreply for arm64 switches its machine off, which ends QEMU with 0", async (t) => {
  if (!isPossible(t)) return;
  const outcome = await runToEnd(qemu, argumentsOf("virt", "exit=0 port=81"), { timeoutMs: 20_000 });
  assert.equal(outcome.stdout, "httpreply: unikernel on image, no network device\n");
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.code, 0);
});
