/** What we write in a container's configuration is what runc makes of it, seen from inside. Run by runc itself, in a network namespace as the warden has one. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type BundleInput, bundleConfig } from "../../src/spec/bundle.ts";
import { hostPath, sandboxPath } from "../../src/spec/paths.ts";
import { requires } from "../support/requires.ts";
import { type Outcome, runToEnd } from "../support/tripod.ts";

const runc = ["/usr/sbin/runc", "/usr/bin/runc"].find((path) => existsSync(path));
const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));

interface Inside {
  readonly script: string;
  readonly change?: Partial<BundleInput>;
}

/** Runs a shell script in a container of our configuration and gives back what it said. */
async function inside(t: TestContext, { script, change }: Inside): Promise<Outcome | undefined> {
  if (!requires(t, "root", process.getuid?.() === 0)) return undefined;
  if (!requires(t, "runc", runc !== undefined) || runc === undefined) return undefined;
  if (!requires(t, "busybox", busybox !== undefined) || busybox === undefined) return undefined;
  const lab = mkdtempSync(join(tmpdir(), "tripod-bundle-"));
  const id = `tripod-test-${randomUUID()}`;
  const runcRoot = join(lab, "runc");
  t.after(async () => {
    await runToEnd(runc, ["--root", runcRoot, "delete", "--force", id], { timeoutMs: 10_000 });
    rmSync(lab, { recursive: true });
  });
  for (const dir of ["bin", "etc", "proc", "sys", "dev", "tmp"])
    mkdirSync(join(lab, "rootfs", dir), { recursive: true });
  copyFileSync(busybox, join(lab, "rootfs/bin/busybox"));
  symlinkSync("busybox", join(lab, "rootfs/bin/sh"));
  mkdirSync(join(lab, "bundle"));
  mkdirSync(join(lab, "data"));
  writeFileSync(join(lab, "data/file"), "from the host\n");
  writeFileSync(join(lab, "hosts"), "10.0.0.5\tweb\n");
  const config = bundleConfig({
    arch: process.arch === "arm64" ? "arm64" : "amd64",
    image: { Cmd: ["/bin/sh", "-c", `b=/bin/busybox\n${script}`] },
    wish: { args: [], env: [] },
    inherited: {},
    user: { uid: 0, gid: 0 },
    hostname: "web",
    rootPath: "../rootfs",
    readonlyRoot: false,
    cgroupsPath: `/${id}`,
    limits: { memoryBytes: 64 << 20, pids: 20 },
    terminal: false,
    volumes: [{ source: hostPath(join(lab, "data")), target: sandboxPath("/data"), readonly: true }],
    tmpfs: [{ target: sandboxPath("/scratch"), options: ["size=64k"] }],
    files: [{ source: hostPath(join(lab, "hosts")), target: "/etc/hosts" }],
    ...change,
  });
  writeFileSync(join(lab, "bundle/config.json"), JSON.stringify(config));
  const argv = ["-n", runc, "--root", runcRoot, "run", "--bundle", join(lab, "bundle"), id];
  return runToEnd("unshare", argv, { timeoutMs: 30_000 });
}

test("a container sees its name, its files, its volumes and a network of the caller's", async (t) => {
  const outcome = await inside(t, {
    script: `
      $b hostname
      $b cat /etc/hosts /data/file
      $b touch /data/x 2>/dev/null || echo read-only
      $b touch /written && echo writable
      $b head -c 100k /dev/zero > /scratch/big 2>/dev/null || echo bounded
      $b ls /sys/class/net`,
  });
  if (outcome === undefined) return;
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.stdout, "web\n10.0.0.5\tweb\nfrom the host\nread-only\nwritable\nbounded\nlo\n");
  assert.equal(outcome.code, 0);
});

test("root in a container has docker's capabilities and no others, under a filter", async (t) => {
  const outcome = await inside(t, { script: "$b grep -E '^(Cap|Seccomp:)' /proc/self/status" });
  if (outcome === undefined) return;
  const words = Object.fromEntries(
    outcome.stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/:\s+/)),
  );
  assert.deepEqual(words, {
    CapInh: "0000000000000000",
    CapPrm: "00000000a80425fb",
    CapEff: "00000000a80425fb",
    CapBnd: "00000000a80425fb",
    CapAmb: "0000000000000000",
    Seccomp: "2",
  });
});

test("another user has none", async (t) => {
  const outcome = await inside(t, {
    script: "$b id -u; $b grep CapEff /proc/self/status",
    change: { user: { uid: 33, gid: 33 } },
  });
  assert.equal(outcome?.stdout ?? "33\nCapEff:\t0000000000000000\n", "33\nCapEff:\t0000000000000000\n");
});

test("what the profile denies is denied with EPERM, and ordinary work is not", async (t) => {
  const outcome = await inside(t, {
    script: `
      $b unshare -U true 2>&1
      $b unshare -m true 2>&1
      $b mount -t tmpfs none /tmp 2>&1
      $b dmesg 2>&1
      $b date -s 2000-01-01 2>&1
      (echo child) | $b cat
      exit 7`,
  });
  if (outcome === undefined) return;
  const lines = outcome.stdout.trim().split("\n");
  assert.equal(lines.filter((line) => /not permitted|are you root/.test(line)).length, 5, outcome.stdout);
  assert.ok(lines.includes("child"));
  assert.equal(outcome.code, 7);
});

test("the kernel's secrets are masked and its switches cannot be turned", async (t) => {
  const outcome = await inside(t, {
    // Both have content for root on the host.
    script: `
      $b wc -c < /proc/timer_list
      $b wc -c < /proc/keys
      echo 1 2>&1 > /proc/sys/kernel/panic || echo refused
      echo b 2>&1 > /proc/sysrq-trigger || echo refused`,
  });
  if (outcome === undefined) return;
  assert.deepEqual(outcome.stdout.match(/^(0|refused)$/gm), ["0", "0", "refused", "refused"]);
});
