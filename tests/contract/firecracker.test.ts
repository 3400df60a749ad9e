/**
 * What we write for Firecracker is what its published API describes, and what a real one boots. Firecracker is in no registry: the latter runs where it is on PATH.
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import * as v from "valibot";
import { monitorDriver } from "../../src/monitor/index.ts";
import { hostPath } from "../../src/spec/paths.ts";
import { type Launch, type MonitorBoot, arches, guestKinds } from "../../src/spec/values.ts";
import { pvhKernel } from "../support/kernels.ts";
import { requires } from "../support/requires.ts";
import { eventually, outcomeOf, runToEnd, tree } from "../support/tripod.ts";

const installed = spawnSync("firecracker", ["--version"], { timeout: 10_000 }).status === 0;

const id = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_]+$/));
const path = v.pipe(v.string(), v.startsWith("/"));
/** One file with the bodies of PUT requests under the names of their resources; a field that Firecracker does not know is an error to it. */
const configSchema = v.strictObject({
  "boot-source": v.strictObject({
    kernel_image_path: path,
    boot_args: v.optional(v.string()),
    initrd_path: v.optional(path),
  }),
  "machine-config": v.strictObject({
    vcpu_count: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(32)),
    mem_size_mib: v.pipe(v.number(), v.integer(), v.minValue(1)),
    smt: v.optional(v.boolean()),
    track_dirty_pages: v.optional(v.boolean()),
  }),
  drives: v.array(
    v.strictObject({
      drive_id: id,
      is_root_device: v.boolean(),
      is_read_only: v.optional(v.boolean()),
      path_on_host: path,
      cache_type: v.optional(v.picklist(["Unsafe", "Writeback"])),
      io_engine: v.optional(v.picklist(["Sync", "Async"])),
    }),
  ),
  "network-interfaces": v.array(
    v.strictObject({
      iface_id: id,
      host_dev_name: v.pipe(v.string(), v.regex(/^\S{1,15}$/)),
      guest_mac: v.optional(v.pipe(v.string(), v.mac48())),
      mtu: v.optional(v.pipe(v.number(), v.integer(), v.minValue(68), v.maxValue(65_535))),
    }),
  ),
  vsock: v.optional(v.strictObject({ guest_cid: v.pipe(v.number(), v.minValue(3)), uds_path: path })),
});

const driver = () => {
  const found = monitorDriver("firecracker", "/usr/bin/firecracker");
  assert.ok(found !== undefined);
  return found;
};

const full: MonitorBoot = {
  kernel: hostPath("/layers/kernel"),
  initrd: hostPath("/layers/initrd"),
  bootLine: 'console=ttyS0 "a b" \\ ü',
  disks: [
    { name: "root-fs.1", path: hostPath("/a"), readonly: false },
    { name: "b", path: hostPath("/b"), readonly: true, sectorBytes: 512 },
  ],
  nics: [
    { name: "eth0", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 },
    { name: "eth1", tap: "tap1", mac: "02:00:00:00:00:02", mtu: 9000 },
  ],
  shares: [],
};

const configOf = ({ files }: Launch): unknown => {
  assert.equal(files.length, 1);
  return JSON.parse(Buffer.from(files[0]?.content ?? "", "base64").toString());
};

test("the configuration of every guest is what the published API describes, and says all that the guest has", () => {
  for (const guest of guestKinds)
    for (const arch of arches) {
      if (driver().features.guests[guest]?.includes(arch) !== true) continue;
      const launch = driver().render({
        guest,
        boot: full,
        machine: { arch, memoryBytes: 65 << 20, vcpus: 2, kvm: true },
        program: hostPath("/usr/bin/firecracker"),
        needs: [],
      });
      const config = v.parse(configSchema, configOf(launch));
      assert.equal(config["boot-source"].boot_args, full.bootLine);
      assert.deepEqual(config["machine-config"], { vcpu_count: 2, mem_size_mib: 65 });
      assert.deepEqual(
        config.drives.map(({ is_read_only }) => is_read_only),
        [false, true],
      );
      assert.deepEqual(
        config["network-interfaces"].map(({ mtu }) => mtu),
        [undefined, 9000],
      );
      const places = new Set(launch.binds.map(({ at }) => at as string));
      for (const named of [
        config["boot-source"].kernel_image_path,
        config["boot-source"].initrd_path ?? "",
        ...config.drives.map(({ path_on_host }) => path_on_host),
      ])
        assert.ok(places.has(named), named);
    }
});

function labOf(t: TestContext): string {
  const lab = mkdtempSync(join(tmpdir(), "tripod-fc-"));
  t.after(() => rmSync(lab, { recursive: true }));
  return lab;
}

/** The launch with paths of the host's in place of the private root's. */
function onHost(launch: Launch, lab: string): string[] {
  const where = new Map(launch.binds.map(({ from, at }) => [at as string, from as string]));
  for (const [index, { at, content }] of launch.files.entries()) {
    const text = Buffer.from(content, "base64").toString();
    writeFileSync(
      join(lab, `file-${index}`),
      text.replaceAll(/"(\/[\w-]+)"/g, (word, named: string) => JSON.stringify(where.get(named) ?? word)),
    );
    where.set(at, join(lab, `file-${index}`));
  }
  return launch.argv.slice(1).map((word) => where.get(word) ?? word);
}

test("Firecracker boots what was rendered, says nothing of its own and ends with 0 as its guest resets", async (t) => {
  if (!requires(t, "firecracker", installed)) return;
  const lab = labOf(t);
  // The keyboard controller's command to reset the machine.
  writeFileSync(join(lab, "kernel"), pvhKernel("said by the guest\n", { port: 0x64, value: 0xfe }));
  writeFileSync(join(lab, "initrd"), "not one");
  for (const disk of ["a", "b"]) {
    writeFileSync(join(lab, disk), "");
    truncateSync(join(lab, disk), 1 << 20);
  }
  const launch = driver().render({
    guest: "pvh",
    boot: {
      ...full,
      kernel: hostPath(join(lab, "kernel")),
      initrd: hostPath(join(lab, "initrd")),
      disks: full.disks.map((disk, index) => ({
        ...disk,
        path: hostPath(join(lab, ["a", "b"][index] ?? "")),
      })),
      nics: [],
    },
    machine: { arch: "amd64", memoryBytes: 32 << 20, vcpus: 1, kvm: true },
    program: hostPath("/usr/bin/firecracker"),
    needs: [],
  });
  const child = spawn("firecracker", onHost(launch, lab), { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = await outcomeOf(child, "Firecracker", 20_000);
  assert.equal(outcome.stdout, "said by the guest\n");
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.code, 0);
});
const ip = (...argv: string[]) => runToEnd("ip", argv, { timeoutMs: 10_000 });

test("httpreply's PVH kernel, the same file that QEMU runs, answers under Firecracker", async (t) => {
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
