/**
 * What we say to Cloud Hypervisor is what its manual describes, and what a real one boots. It is in no registry: the latter runs where it is on PATH.
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import * as v from "valibot";
import { monitorDriver } from "../../src/monitor/index.ts";
import { hostPath } from "../../src/spec/paths.ts";
import { type MonitorBoot, arches, guestKinds } from "../../src/spec/values.ts";
import { pvhKernel } from "../support/kernels.ts";
import { requires } from "../support/requires.ts";
import { outcomeOf } from "../support/tripod.ts";

const installed = spawnSync("cloud-hypervisor", ["--version"], { timeout: 10_000 }).status === 0;

const onOff = v.picklist(["on", "off"]);
const path = v.pipe(v.string(), v.startsWith("/"));
const id = v.pipe(v.string(), v.regex(/^\w+$/));
const one = <Entry extends v.GenericSchema>(entry: Entry) => v.tuple([entry]);
/** Options with their values, those of the form `key=value,…` taken apart. */
const optionsSchema = v.strictObject({
  "--kernel": one(path),
  "--cmdline": one(v.string()),
  "--initramfs": v.optional(one(path)),
  "--memory": one(v.strictObject({ size: v.pipe(v.string(), v.regex(/^\d+M$/)), shared: v.optional(onOff) })),
  "--cpus": one(v.strictObject({ boot: v.pipe(v.string(), v.regex(/^\d+$/)) })),
  "--serial": one(v.picklist(["off", "null", "pty", "tty"])),
  "--console": one(v.picklist(["off", "null", "pty", "tty"])),
  "--seccomp": one(v.picklist(["true", "false", "log", "errno"])),
  "--disk": v.optional(
    v.array(v.strictObject({ path, readonly: onOff, id, image_type: v.picklist(["raw", "qcow2"]) })),
  ),
  "--fs": v.optional(
    v.array(
      v.strictObject({ tag: v.string(), socket: path, num_queues: v.string(), queue_size: v.string(), id }),
    ),
  ),
  "--net": v.optional(
    v.array(
      v.strictObject({
        fd: v.pipe(v.string(), v.regex(/^\[\d+\]$/)),
        mac: v.pipe(v.string(), v.mac48()),
        id,
      }),
    ),
  ),
});

const assigned = new Set(["--memory", "--cpus", "--disk", "--net", "--fs"]);

/** Each option once, and what follows it. */
function parse(argv: readonly string[]): v.InferOutput<typeof optionsSchema> {
  const options: Record<string, unknown[]> = {};
  let current: unknown[] = [];
  let name = "";
  for (const word of argv) {
    if (word.startsWith("--") && name !== "--cmdline") {
      assert.ok(!Object.hasOwn(options, word), `${word} is given twice`);
      name = word;
      current = options[word] = [];
    } else {
      current.push(
        assigned.has(name) ? Object.fromEntries(word.split(",").map((pair) => pair.split("="))) : word,
      );
      if (name === "--cmdline") name = "";
    }
  }
  return v.parse(optionsSchema, options);
}

const driver = () => {
  const found = monitorDriver("cloud-hypervisor", "/usr/bin/cloud-hypervisor");
  assert.ok(found !== undefined);
  return found;
};

const full: MonitorBoot = {
  kernel: hostPath("/layers/kernel"),
  initrd: hostPath("/layers/initrd"),
  bootLine: "--serial console=ttyS0,1 a=b",
  disks: [
    { name: "root,fs", path: hostPath("/a"), readonly: false },
    { name: "b", path: hostPath("/b"), readonly: true },
  ],
  nics: [
    { name: "eth0", tap: "tap0", mac: "02:00:00:00:00:01", mtu: 1500 },
    { name: "eth1", tap: "tap1", mac: "02:00:00:00:00:02", mtu: 9000 },
  ],
  shares: [{ kind: "virtiofs", tag: "root", path: hostPath("/layers/tree"), readonly: true }],
};

const rendered = (boot: MonitorBoot, guest: (typeof guestKinds)[number], arch: (typeof arches)[number]) =>
  driver().render({
    guest,
    boot,
    machine: { arch, memoryBytes: 65 << 20, vcpus: 2, kvm: true },
    program: hostPath("/usr/bin/cloud-hypervisor"),
    needs: [],
    shareServer: { program: hostPath("/usr/libexec/virtiofsd"), needs: [] },
  });

test("the arguments of every guest are what the manual describes, and say all that the guest has", () => {
  for (const guest of guestKinds)
    for (const arch of arches) {
      if (driver().features.guests[guest]?.includes(arch) !== true) continue;
      const launch = rendered(full, guest, arch);
      const options = parse(launch.argv.slice(1));
      assert.deepEqual(options["--cmdline"], [full.bootLine]);
      assert.deepEqual(options["--memory"], [{ size: "65M", shared: "on" }]);
      assert.deepEqual(options["--cpus"], [{ boot: "2" }]);
      assert.deepEqual(
        options["--disk"]?.map(({ readonly }) => readonly),
        ["off", "on"],
      );
      assert.deepEqual(
        options["--net"]?.map(({ fd, mac }) => `${fd} ${mac}`),
        launch.taps.map(({ at }, index) => `[${at}] ${full.nics[index]?.mac}`),
      );
      assert.deepEqual(
        options["--fs"]?.map(({ socket }) => ({ path: socket })),
        launch.helpers.map(({ reached }) => reached),
      );
      assert.ok(launch.taps.every(({ vnetHeader }) => vnetHeader === true));
    }
});

test("Cloud Hypervisor boots what was rendered and ends with 0 as its guest switches the machine off", async (t) => {
  if (!requires(t, "cloud-hypervisor", installed)) return;
  const lab = mkdtempSync(join(tmpdir(), "tripod-ch-"));
  t.after(() => rmSync(lab, { recursive: true }));
  // ACPI's sleep control register: sleep now, type 5.
  writeFileSync(join(lab, "kernel"), pvhKernel("said by the guest\n", { port: 0x600, value: 0x34 }));
  writeFileSync(join(lab, "initrd"), "not one");
  for (const disk of ["a", "b"]) {
    writeFileSync(join(lab, disk), "");
    truncateSync(join(lab, disk), 1 << 20);
  }
  const launch = rendered(
    {
      ...full,
      kernel: hostPath(join(lab, "kernel")),
      initrd: hostPath(join(lab, "initrd")),
      bootLine: "a=b",
      disks: full.disks.map((disk, index) => ({
        ...disk,
        path: hostPath(join(lab, ["a", "b"][index] ?? "")),
      })),
      nics: [],
      shares: [],
    },
    "pvh",
    "amd64",
  );
  const where = new Map(launch.binds.map(({ from, at }) => [at as string, from as string]));
  const argv = launch.argv
    .slice(1)
    .map((word) => (where.get(word) ?? word).replace(/(?<=path=)\/[\w-]+/, (at) => where.get(at) ?? at));
  const child = spawn("cloud-hypervisor", argv, { stdio: ["ignore", "pipe", "pipe"] });
  const outcome = await outcomeOf(child, "Cloud Hypervisor", 20_000);
  assert.equal(outcome.stdout, "said by the guest\n");
  assert.equal(outcome.code, 0, outcome.stderr);
});
