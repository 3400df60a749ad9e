import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { dualStack, sptOffer } from "../spec/fixtures.ts";
import { hostPath } from "../spec/paths.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { Arch, GuestKind, GuestRoot, InitrdPart, MonitorKind } from "../spec/values.ts";
import type { GuestInput } from "./guest.ts";
import { guestDriver } from "./index.ts";

const onlyFamily = (family: "ipv4" | "ipv6"): NetFacts => ({
  ...dualStack,
  interfaces: dualStack.interfaces.map((nic) => ({
    ...nic,
    addresses: nic.addresses.filter((entry) => entry.family === family),
  })),
  routes: dualStack.routes.filter((route) => route.family === family),
});
const gateway = (address: string): NetFacts => ({
  ...onlyFamily("ipv4"),
  routes: [{ family: "ipv4", destination: "0.0.0.0/0", gateway: address, interface: "eth0" }],
});
const nets: Readonly<Record<string, NetFacts | undefined>> = {
  "no network": undefined,
  IPv4: onlyFamily("ipv4"),
  "both families": dualStack,
  "IPv6 alone": onlyFamily("ipv6"),
  "no gateway": { ...onlyFamily("ipv4"), routes: [] },
  "a gateway outside": gateway("10.200.0.1"),
  "Calico's gateway": gateway("169.254.1.1"),
};

const disk = { name: "rootfs", path: hostPath("/layers/a/disk.img"), readonly: false };
const roots: Readonly<Record<GuestRoot["kind"], GuestRoot>> = {
  none: { kind: "none" },
  initrd: { kind: "initrd", path: hostPath("/layers/a/initrd") },
  disk: { kind: "disk", disk },
  "9p": { kind: "9p", path: hostPath("/run/rootfs"), readonly: false },
  virtiofs: { kind: "virtiofs", path: hostPath("/run/rootfs"), readonly: true },
};

interface Case {
  readonly guest: GuestKind;
  readonly monitor: MonitorKind;
  readonly arch?: Arch;
  readonly version?: string;
  readonly input?: Partial<GuestInput>;
}

const { bootLine: _template, ...plainOffer } = sptOffer;
const mount = { disk: { name: "vol0", path: hostPath("/volumes/0"), readonly: false }, at: "/srv" };
const init = { path: hostPath("/bin/tripod-init"), sizeBytes: 1001 };
const urunit = { args: ["/urunit", "/app", "a b"], user: { uid: 1000, gid: 17 }, cwd: "/test_dir" };

const cases: Readonly<Record<string, Case>> = {
  "unikraft-qemu": { guest: "unikraft", monitor: "qemu" },
  "unikraft-firecracker-arm64": {
    guest: "unikraft",
    monitor: "firecracker",
    arch: "arm64",
    version: "0.16.1",
  },
  "unikraft-old": { guest: "unikraft", monitor: "qemu", version: "0.15.0" },
  "rumprun-hvt": { guest: "rumprun", monitor: "hvt", input: { netDevices: ["tap"] } },
  "rumprun-spt-volume": {
    guest: "rumprun",
    monitor: "spt",
    input: { mounts: [{ ...mount, at: "/etc" }], blockDevices: ["rootfs"] },
  },
  "mirage-spt": { guest: "mirage", monitor: "spt", input: { netDevices: ["service"] } },
  "mirage-hvt-named": {
    guest: "mirage",
    monitor: "hvt",
    input: { netDevices: ["uplink", "inner"], blockDevices: ["data"] },
  },
  "mewz-qemu": { guest: "mewz", monitor: "qemu" },
  "hermit-qemu": { guest: "hermit", monitor: "qemu" },
  "linux-qemu": { guest: "linux", monitor: "qemu" },
  "linux-qemu-arm64-urunit": { guest: "linux", monitor: "qemu", arch: "arm64", input: urunit },
  "linux-firecracker-urunit-volume": {
    guest: "linux",
    monitor: "firecracker",
    input: { ...urunit, mounts: [mount] },
  },
  "linux-qemu-own-tree": { guest: "linux", monitor: "qemu", input: { init, ownsTree: true } },
  "linux-cloud-hypervisor-init": { guest: "linux", monitor: "cloud-hypervisor", input: { init } },
};

/** Base64 as text, so that a reviewer can read the golden files. */
const readable = (part: InitrdPart): string =>
  "path" in part
    ? part.path
    : `text: ${Buffer.from(part.content, "base64").toString("latin1").replaceAll("\0", "·")}`;

function described(
  { guest, monitor, arch, version, input }: Case,
  root: GuestRoot,
  net: NetFacts | undefined,
) {
  const driver = guestDriver(guest);
  assert.ok(driver !== undefined);
  try {
    const { bootLine, nics, disks, shares, initrd, rootFiles } = driver.boot({
      offer: { ...plainOffer, guest, arch: arch ?? "amd64", ...(version === undefined ? {} : { version }) },
      kernel: hostPath("/layers/a/kernel"),
      root,
      args: ["/app", "-g", "daemon off;"],
      env: ["PATH=/bin", "URUNC=urunc"],
      hostname: "web",
      monitor,
      net,
      netDevices: [],
      blockDevices: [],
      disks: [],
      mounts: [],
      user: { uid: 0, gid: 0 },
      cwd: "/",
      ownsTree: false,
      ...input,
    });
    return {
      bootLine,
      ...(nics.length === 0 ? {} : { nics: nics.map(({ name, mac }) => `${name} ${mac}`) }),
      ...(disks.length === 0 ? {} : { disks: disks.map(({ name, path }) => `${name} ${path}`) }),
      ...(shares.length === 0
        ? {}
        : { shares: shares.map(({ kind, tag, path }) => `${kind} ${tag} ${path}`) }),
      ...(rootFiles === undefined
        ? {}
        : { rootFiles: rootFiles.map(({ at, mode }) => `${at} ${mode.toString(8)}`) }),
      ...(initrd.length === 0 ? {} : { initrd: initrd.map(readable) }),
    };
  } catch (error) {
    assert.ok(error instanceof TripodError, String(error));
    assert.notEqual(error.code, "bug");
    return { refused: `${error.code}: ${error.message}` };
  }
}

/** Every root on no network, and every network on the guest's first root. */
function descriptions(one: Case): Record<string, unknown> {
  const usual = guestDriver(one.guest)?.roots[0] ?? "none";
  return Object.fromEntries([
    ...Object.values(roots).map((root) => [`${root.kind}, no network`, described(one, root, undefined)]),
    // A guest that could have a share has its name servers there too.
    ...(one.input?.ownsTree === true ? [["9p, IPv4", described(one, roots["9p"], nets["IPv4"])]] : []),
    ...Object.entries(nets).map(([name, net]) => [`${usual}, ${name}`, described(one, roots[usual], net)]),
  ]);
}

// `UPDATE_GOLDEN=1 node --test 'src/guest/*.test.ts'` writes them anew; the diff is for the reviewer.
for (const [name, one] of Object.entries(cases))
  test(`the boots of ${name} are golden/${name}.json`, () => {
    const path = join(import.meta.dirname, "golden", `${name}.json`);
    const value = descriptions(one);
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
    assert.deepEqual(value, JSON.parse(readFileSync(path, "utf8")));
  });

test("every guest that has a boot line of its own has golden ones", () => {
  const shown = new Set(Object.values(cases).map(({ guest }) => guest));
  for (const guest of ["unikraft", "rumprun", "mirage", "mewz", "hermit", "linux"] as const)
    assert.ok(shown.has(guest), guest);
});
