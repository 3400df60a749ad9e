import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { richFacts } from "../spec/fixtures.ts";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import { compileSeccomp } from "../spec/seccomp.ts";
import {
  type Arch,
  type GuestKind,
  type Launch,
  type Machine,
  type MonitorBoot,
  type MonitorKind,
  arches,
  guestKinds,
} from "../spec/values.ts";
import { exitMeaning, monitorDriver, monitors, solo5Programs, supportsOf } from "./index.ts";
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

const driver = (kind: MonitorKind, program = "/bin/tripod-tender"): MonitorDriver => {
  const found = monitorDriver(kind, program);
  assert.ok(found !== undefined);
  return found;
};

/** All that a described guest can have, as far as this monitor takes it. */
function fullBoot({ features }: MonitorDriver): MonitorBoot {
  return {
    ...boot,
    initrd: hostPath("/layers/initrd"),
    bootLine: "console=ttyS0 a=1,b=2 -- c",
    disks: disks.map(({ sectorBytes: _512, ...disk }) => disk),
    nics: [nic, { ...nic, name: "service1", tap: "tap1", mac: "0a:58:0a:80:00:06" }],
    shares: features.shares.flatMap((kind) => [
      { kind, tag: "root", path: hostPath("/layers/tree"), readonly: true },
      { kind, tag: "data", path: hostPath("/srv/data"), readonly: false },
    ]),
  };
}

/** Every pair of the drivers with more than one guest, on every architecture that it runs on. */
const pairs = monitors
  .filter(({ features }) => Object.keys(features.guests).length > 1)
  .flatMap((one) =>
    guestKinds.flatMap((guest) =>
      (one.features.guests[guest] ?? []).map((arch): [string, () => Launch] => [
        `${one.features.kind}-${guest}-${arch}`,
        () => renderFull(one, guest, arch),
      ]),
    ),
  );

const renderFull = (one: MonitorDriver, guest: GuestKind, arch: Arch): Launch =>
  one.render({
    guest,
    boot: fullBoot(one),
    machine: { ...machine, arch, kvm: one.features.kvm === "required" },
    program: hostPath("/usr/bin/monitor"),
    needs,
    shareServer: { program: hostPath("/usr/libexec/virtiofsd"), needs },
  });

/** A guest that calls the host, by every monitor that lets it. */
const callers = monitors
  .filter(({ features }) => features.vsock !== undefined)
  .map((one): [string, () => Launch] => [
    `${one.features.kind}-vsock`,
    () =>
      one.render({
        guest: "linux",
        boot: {
          ...boot,
          nics: [],
          vsock: {
            cid: 1_800_000_001,
            port: 2048,
            ...(one.features.vsock === "socket" ? { socket: hostPath("/run/vaccel/vaccel.sock_2048") } : {}),
          },
        },
        machine: { ...machine, kvm: true },
        program: hostPath("/usr/bin/monitor"),
        needs,
      }),
  ]);

const cases: Readonly<Record<string, () => Launch>> = {
  ...Object.fromEntries([...pairs, ...callers]),
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
    const { seccomp, files, helpers, ...launch } = render();
    const shown = {
      ...launch,
      helpers: helpers.map((helper) => ({ ...helper, seccomp: "profile" })),
      files: files.map(({ at, content }) => ({
        at,
        content: JSON.parse(Buffer.from(content, "base64").toString()),
      })),
      seccomp: seccomp === undefined ? null : "profile",
    };
    const text = `${JSON.stringify(shown, null, 2)}\n`;
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, text);
    assert.deepEqual(JSON.parse(text), JSON.parse(readFileSync(path, "utf8")));
  });

test("every fd that an argument names is opened, each number once, from 3 on", () => {
  for (const [name, render] of Object.entries(cases)) {
    const { argv, opens, taps, helpers, channel } = render();
    const reached = helpers.map((helper) => ("at" in helper.reached ? helper.reached : {}));
    const given = [...opens, ...taps, ...reached, channel ?? {}].flatMap(({ at }: { at?: number }) =>
      at === undefined ? [] : [at],
    );
    assert.deepEqual(
      given,
      given.map((_, index) => index + 3),
      name,
    );
    const named = [...argv.join(" ").matchAll(/(?:@|fd=\[?|set=|fdset\/)(\d+)/g)].map(([, number]) =>
      Number(number),
    );
    assert.deepEqual(new Set(named), new Set(given), name);
  }
});

const making =
  (kind: MonitorKind, change: Partial<Machine>, guest: Partial<MonitorBoot> = {}) =>
  () =>
    driver(kind).render({
      guest: kind === "hvt" || kind === "spt" ? "solo5" : "pvh",
      boot: { ...boot, ...guest },
      machine: { ...machine, ...change },
      program: hostPath("/bin/x"),
      needs: [],
    });
const shared = (kind: "9p" | "virtiofs"): Partial<MonitorBoot> => ({
  shares: [{ kind, tag: "root", path: hostPath("/layers/tree"), readonly: true }],
});
const code = (wanted: string) => (error: unknown) => error instanceof TripodError && error.code === wanted;

test("machines that a monitor cannot make are refused", () => {
  assert.throws(making("hvt", { memoryBytes: mebibyte }), code("memory-too-small"));
  assert.throws(making("spt", { memoryBytes: 1000 }), code("memory-too-small"));
  assert.throws(making("spt", { memoryBytes: 5000 * mebibyte }), code("memory-invalid"));
  assert.throws(making("spt", { vcpus: 2 }), code("no-fit"));
  const manyNics = { nics: Array.from({ length: 33 }, () => nic) };
  for (const kind of ["qemu", "firecracker", "cloud-hypervisor"] as const) {
    assert.throws(making(kind, { memoryBytes: 1000 }), code("memory-too-small"), kind);
    assert.throws(making(kind, { vcpus: 0 }), code("no-fit"), kind);
    assert.throws(making(kind, { vcpus: 255 }), code("no-fit"), kind);
    assert.throws(making(kind, {}, manyNics), code("no-fit"), kind);
  }
  assert.throws(making("firecracker", {}, shared("9p")), code("no-fit"));
  assert.throws(making("cloud-hypervisor", {}, shared("9p")), code("no-fit"));
  assert.throws(making("firecracker", {}, { disks }), /sectors of 4096 bytes/);
  assert.throws(making("cloud-hypervisor", {}, { disks }), /sectors of 4096 bytes/);
  const hermit = { guest: "hermit", boot, program: hostPath("/bin/x"), needs: [] } as const;
  assert.throws(
    () => driver("qemu").render({ ...hermit, machine: { ...machine, arch: "arm64" } }),
    /no QEMU machine is described for hermit on arm64/,
  );
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
  const supports = supportsOf(
    {
      ...richFacts.monitors,
      hvt: { path: hostPath("/usr/bin/solo5-hvt"), version: "v0.9.0" },
      qemu: { missing: "not installed" },
    },
    { missing: "not installed" },
  );
  assert.deepEqual(supports.find(({ kind }) => kind === "qemu")?.shares, ["9p"]);
  assert.deepEqual(
    supports.map(({ kind, taps }) => [kind, taps]),
    [
      ["hvt", "none"],
      ["spt", "fd"],
      ["qemu", "fd"],
      ["firecracker", "name"],
      ["cloud-hypervisor", "fd"],
    ],
  );
});

test("a status of Firecracker's own is told in words, another's is not", () => {
  assert.equal(exitMeaning("firecracker", 148), "a forbidden system call");
  assert.equal(exitMeaning("firecracker", 0), undefined);
  assert.equal(exitMeaning("qemu", 148), undefined);
  assert.equal(exitMeaning("runc", 148), undefined);
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
