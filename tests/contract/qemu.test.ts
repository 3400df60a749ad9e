/** What we say to QEMU is what QEMU understands: the command line of every guest on every machine boots a kernel of the test's own, for real, by emulation. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { monitorDriver } from "../../src/monitor/index.ts";
import { hostPath } from "../../src/spec/paths.ts";
import {
  type Arch,
  type GuestKind,
  type Launch,
  type MonitorBoot,
  arches,
  guestKinds,
} from "../../src/spec/values.ts";
import { armKernel, pvhKernel } from "../support/kernels.ts";
import { requires } from "../support/requires.ts";
import { outcomeOf } from "../support/tripod.ts";

const programs: Readonly<Record<Arch, string>> = {
  amd64: "/usr/bin/qemu-system-x86_64",
  arm64: "/usr/bin/qemu-system-aarch64",
};
const said = "said by the guest\n";

const driver = () => {
  const found = monitorDriver("qemu", programs.amd64);
  assert.ok(found !== undefined);
  return found;
};

function labOf(t: TestContext): string {
  const lab = mkdtempSync(join(tmpdir(), "tripod-qemu-"));
  t.after(() => rmSync(lab, { recursive: true }));
  writeFileSync(join(lab, "amd64"), pvhKernel(said));
  writeFileSync(join(lab, "arm64"), armKernel(said));
  writeFileSync(join(lab, "initrd"), "not one");
  mkdirSync(join(lab, "tree"));
  for (const disk of ["a", "b"]) {
    writeFileSync(join(lab, disk), "");
    truncateSync(join(lab, disk), 1 << 20);
  }
  return lab;
}

interface Wanted extends Partial<MonitorBoot> {
  readonly guest: GuestKind;
  readonly arch: Arch;
}

const rendered = (lab: string, { guest, arch, ...boot }: Wanted): Launch =>
  driver().render({
    guest,
    boot: {
      kernel: hostPath(join(lab, arch)),
      bootLine: "a=1,b=2 c",
      disks: [],
      nics: [],
      shares: [],
      ...boot,
    },
    machine: { arch, memoryBytes: 48 << 20, vcpus: 2, kvm: false },
    program: hostPath(programs[arch]),
    needs: [],
  });

/**
 * Runs it as the warden would but for the private root: paths in it are those of the host. A tap's fd cannot be had without privilege: a network of QEMU's own
 * takes its place.
 */
async function run(launch: Launch, more: readonly string[] = []) {
  const where = new Map(launch.binds.map(({ from, at }) => [at as string, from as string]));
  const fds = launch.opens.map(({ path, write }) => openSync(path, write ? "r+" : "r"));
  const [, ...argv] = launch.argv;
  const moduleDir = moduleFiles().find((file) => existsSync(file));
  const words = argv.map((word) =>
    (where.get(word) ?? word)
      .replace(/^tap,id=(\w+),fd=\d+$/, "user,id=$1")
      .replace(/(?<=path=)\/share-\d+/, (at) => where.get(at) ?? at),
  );
  const { channel } = launch;
  assert.ok(channel !== undefined);
  const given: ("ignore" | "pipe" | number)[] = ["ignore", "pipe", "pipe", ...fds];
  // A tap's number stays empty here.
  while (given.length < channel.at) given.push("ignore");
  const child = spawn(launch.program, [...words, ...more], {
    env: moduleDir === undefined ? {} : { QEMU_MODULE_DIR: dirname(moduleDir) },
    stdio: [...given, "pipe"],
  });
  // These guests end before they could be heard of; tests/integration has those that stay.
  const control = child.stdio[channel.at] as Socket;
  control.on("data", () => {}).on("error", () => {});
  control.write(Buffer.from(channel.say, "base64"));
  try {
    return await outcomeOf(child, "QEMU", 30_000);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

const moduleFiles = (): string[] =>
  driver()
    .needs("pvh", "amd64")
    .files.flatMap(({ modules, dirs, names }) =>
      modules ? dirs.flatMap((dir) => names.map((name) => join(dir, name))) : [],
    );

const hasQemu = (t: TestContext, arch: Arch): boolean =>
  requires(t, programs[arch].replace("/usr/bin/", ""), existsSync(programs[arch]));

for (const guest of guestKinds)
  for (const arch of arches)
    if (driver().features.guests[guest]?.includes(arch) === true)
      test(`QEMU boots the kernel of a ${guest} guest on ${arch}, with an initrd and all kinds of devices`, async (t) => {
        if (!hasQemu(t, arch)) return;
        const lab = labOf(t);
        const nic = { mtu: 1400, name: "eth0", tap: "tap0" };
        const outcome = await run(
          rendered(lab, {
            guest,
            arch,
            initrd: hostPath(join(lab, "initrd")),
            disks: [
              { name: "a,b", path: hostPath(join(lab, "a")), readonly: false, sectorBytes: 4096 },
              { name: "b", path: hostPath(join(lab, "b")), readonly: true },
            ],
            nics: [
              { ...nic, mac: "02:00:00:00:00:01" },
              { ...nic, mac: "02:00:00:00:00:02" },
            ],
            shares: [
              { kind: "9p", tag: "r,o", path: hostPath(join(lab, "tree")), readonly: true },
              { kind: "9p", tag: "rw", path: hostPath(join(lab, "tree")), readonly: false },
            ],
          }),
        );
        assert.equal(outcome.stderr, "");
        assert.equal(outcome.stdout, said);
        assert.equal(outcome.code, 0);
      });

test("a guest's status at the debug port is among the statuses that stand for an exit code", async (t) => {
  if (!hasQemu(t, "amd64")) return;
  const lab = labOf(t);
  const launch = rendered(lab, { guest: "mewz", arch: "amd64" });
  for (const code of [0, 1, 42, 127]) {
    writeFileSync(join(lab, "amd64"), pvhKernel(said, { port: 0x501, value: code }));
    const outcome = await run(launch);
    assert.deepEqual(
      launch.exitCodes?.find(([status]) => status === outcome.code),
      [2 * code + 1, code],
    );
  }
});

test("a word that QEMU does not know would be noticed", async (t) => {
  if (!hasQemu(t, "amd64")) return;
  const outcome = await run(rendered(labOf(t), { guest: "pvh", arch: "amd64" }), [
    "-device",
    "no-such-device",
  ]);
  assert.notEqual(outcome.code, 0);
});
