import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { richFacts } from "../spec/fixtures.ts";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import { compileSeccomp } from "../spec/seccomp.ts";
import { type Launch, type Machine, type MonitorBoot, arches } from "../spec/values.ts";
import { monitorDriver, monitors, solo5Programs, supportsOf } from "./index.ts";
import { type MonitorDriver, mebibyte } from "./monitor.ts";
import { isSolo5Program } from "./solo5.ts";

const nic = { name: "service0", tap: "tap0", mac: "0a:58:0a:80:00:05", mtu: 1450 };
const boot: MonitorBoot = {
  kernel: hostPath("/layers/kernel"),
  shares: [],
  bootLine: "ip=10.128.0.5/20 port=80",
  disks: [],
  nics: [nic],
};
const machine: Machine = { arch: "amd64", memoryBytes: 64 * mebibyte, vcpus: 1, kvm: false };
const disks: MonitorBoot["disks"] = [
  { name: "storage", path: hostPath("/disks/a"), readonly: false, sectorBytes: 4096 },
  { name: "config", path: hostPath("/disks/b"), readonly: true },
];
const needs = [
  { from: hostPath("/lib/libc.so.6"), at: sandboxPath("/lib/libc.so.6"), executable: true },
] as const;

const driver = (kind: "hvt" | "spt" | "qemu", program = "/bin/tripod-tender"): MonitorDriver => {
  const found = monitorDriver(kind, program);
  assert.ok(found !== undefined);
  return found;
};

const cases: Readonly<Record<string, () => Launch>> = {
  "spt-solo5": () =>
    driver("spt").render({
      guest: "solo5",
      boot,
      machine,
      program: hostPath("/bin/tripod-tender"),
      needs: [],
    }),
  "spt-solo5-bare": () =>
    driver("spt").render({
      guest: "solo5",
      boot: { ...boot, nics: [], bootLine: "" },
      machine,
      program: hostPath("/bin/tripod-tender"),
      needs: [],
    }),
  "hvt-solo5": () =>
    driver("hvt").render({
      guest: "solo5",
      boot: { ...boot, disks, nics: [nic, { ...nic, name: "service1", tap: "tap1" }] },
      machine: { ...machine, kvm: true, memoryBytes: 65 * mebibyte + 5 },
      program: hostPath("/bin/tripod-tender"),
      needs: [],
    }),
  "own-hvt-solo5": () =>
    driver("hvt", "/usr/bin/solo5-hvt").render({
      guest: "solo5",
      boot: { ...boot, disks, nics: [] },
      machine: { ...machine, kvm: true },
      program: hostPath("/usr/bin/solo5-hvt"),
      needs,
    }),
  "qemu-pvh-kvm": () =>
    driver("qemu").render({
      guest: "pvh",
      boot,
      machine: { ...machine, kvm: true, vcpus: 2 },
      program: hostPath("/usr/bin/qemu-system-x86_64"),
      needs,
    }),
  "qemu-pvh-tcg-disks": () =>
    driver("qemu").render({
      guest: "pvh",
      boot: { ...boot, disks, initrd: hostPath("/layers/initrd") },
      machine,
      program: hostPath("/usr/bin/qemu-system-x86_64"),
      needs,
    }),
};

// `UPDATE_GOLDEN=1 node --test src/monitor` writes them anew; the diff is for the reviewer.
for (const [name, render] of Object.entries(cases))
  test(`what ${name} renders to is golden/${name}.json`, () => {
    const path = join(import.meta.dirname, "golden", `${name}.json`);
    const { seccomp, ...launch } = render();
    const text = `${JSON.stringify({ ...launch, seccomp: seccomp === undefined ? null : "profile" }, null, 2)}\n`;
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
    assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(path, "utf8")));
  });

test("every fd that an argument names is opened, each number once, from 3 on", () => {
  for (const [name, render] of Object.entries(cases)) {
    const { argv, opens, taps } = render();
    const given = [...opens, ...taps].map(({ at }) => at);
    assert.deepEqual(
      given,
      given.map((_, index) => index + 3),
      name,
    );
    const named = [...argv.join(" ").matchAll(/(?:@|fd=|set=|fdset\/)(\d+)/g)].map(([, number]) =>
      Number(number),
    );
    assert.deepEqual(new Set(named), new Set(given), name);
  }
});

const making =
  (kind: "hvt" | "spt" | "qemu", change: Partial<Machine>, guest: Partial<MonitorBoot> = {}) =>
  () =>
    driver(kind).render({
      guest: "solo5",
      boot: { ...boot, ...guest },
      machine: { ...machine, ...change },
      program: hostPath("/bin/x"),
      needs: [],
    });
const code = (wanted: string) => (error: unknown) => error instanceof TripodError && error.code === wanted;

test("machines that a monitor cannot make are refused", () => {
  assert.throws(making("hvt", { memoryBytes: mebibyte }), code("memory-too-small"));
  assert.throws(making("spt", { memoryBytes: 1000 }), code("memory-too-small"));
  assert.throws(making("spt", { memoryBytes: 5000 * mebibyte }), code("memory-invalid"));
  assert.throws(making("spt", { vcpus: 2 }), code("no-fit"));
  assert.throws(making("qemu", { arch: "arm64" }), code("no-fit"));
  assert.throws(making("qemu", { vcpus: 17 }), code("no-fit"));
  assert.throws(making("qemu", {}, { nics: Array.from({ length: 9 }, () => nic) }), code("no-fit"));
});

test("Solo5's own program is known by its name, and takes no network device", () => {
  assert.ok(isSolo5Program("/usr/bin/solo5-hvt"));
  assert.ok(isSolo5Program("/opt/solo5-spt-0.9"));
  assert.ok(!isSolo5Program("/opt/solo5-hvt/tender"));
  const own = driver("spt", "/usr/bin/solo5-spt");
  assert.throws(
    () => own.render({ guest: "solo5", boot, machine, program: hostPath("/usr/bin/solo5-spt"), needs }),
    /cannot take the guest's network device/,
  );
  const supports = supportsOf({
    ...richFacts.monitors,
    hvt: { path: hostPath("/usr/bin/solo5-hvt"), version: "v0.9.0" },
    qemu: { missing: "not installed" },
  });
  assert.deepEqual(
    supports.map(({ kind, taps }) => [kind, taps]),
    [
      ["hvt", "none"],
      ["spt", "fd"],
      ["qemu", "fd"],
    ],
  );
});

test("every profile of system calls compiles for every architecture", () => {
  for (const render of Object.values(cases)) {
    const { seccomp } = render();
    if (seccomp !== undefined)
      for (const arch of arches) assert.ok(compileSeccomp(seccomp, arch).length > 100);
  }
});

test("more memory never means less overhead, and KVM never more than emulation", () => {
  for (const { overheadBytes } of [...monitors, ...solo5Programs]) {
    assert.ok(overheadBytes(machine) <= overheadBytes({ ...machine, memoryBytes: machine.memoryBytes * 2 }));
    assert.ok(overheadBytes({ ...machine, kvm: true }) <= overheadBytes(machine));
  }
});
