/** `tripod-init` as process 1 of a real guest: Debian's cloud kernel in an emulated machine, with an initrd of the test's own. */

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type CpioEntry, cpio } from "../support/cpio.ts";
import { requires } from "../support/requires.ts";
import { runToEnd, tree } from "../support/tripod.ts";

const qemu = "/usr/bin/qemu-system-x86_64";
const busybox = "/bin/busybox";
const release = readdirSync("/boot")
  .flatMap((name) => /^vmlinuz-(.*-cloud-amd64)$/.exec(name)?.[1] ?? [])
  .toSorted()
  .at(-1);

interface Guest {
  /** The configuration; none: `URUNIT_CONFIG` is not set. */
  readonly config?: string;
  /** Further words of the kernel's command line. */
  readonly line?: string;
  /** What follows `--`. */
  readonly program: string;
  readonly machine?: readonly string[];
  readonly files?: readonly CpioEntry[];
  readonly init?: string;
}

interface Ended {
  /** The console's lines, without the kernel's. */
  readonly console: string;
  /** Of the guest, as the exit port told it; undefined: not told. */
  readonly status: number | undefined;
}

const program = (path: string, from: string): CpioEntry => ({
  path,
  mode: 0o100755,
  content: readFileSync(from),
});

async function boot(t: TestContext, guest: Guest): Promise<Ended | undefined> {
  if (!requires(t, "qemu-system-x86_64", existsSync(qemu))) return undefined;
  if (!requires(t, "a Linux kernel for guests", release !== undefined)) return undefined;
  if (!requires(t, "busybox", existsSync(busybox))) return undefined;
  const lab = mkdtempSync(join(tmpdir(), "tripod-init-"));
  t.after(() => rmSync(lab, { recursive: true }));
  const files: CpioEntry[] = [
    program("tripod-init", join(tree, "bin/tripod-init")),
    { path: "bin", mode: 0o40755 },
    program("bin/busybox", busybox),
    ...["sh", "id", "sleep", "kill", "insmod", "ip", "cat", "mount", "env"].map((name) => ({
      path: `bin/${name}`,
      mode: 0o120777,
      content: "busybox",
    })),
    ...(guest.config === undefined ? [] : [{ path: "urunit.conf", mode: 0o100400, content: guest.config }]),
    ...(guest.files ?? []),
  ];
  writeFileSync(join(lab, "initrd"), cpio(files));
  const line = [
    "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t tsc=reliable no_timer_check nolapic_timer",
    `rdinit=${guest.init ?? "/tripod-init"} TRIPOD_EXIT_PORT=0x501`,
    ...(guest.config === undefined ? [] : ["URUNIT_CONFIG=/urunit.conf"]),
    ...(guest.line === undefined ? [] : [guest.line]),
    "--",
    guest.program,
  ].join(" ");
  const outcome = await runToEnd(
    qemu,
    [
      ...(guest.machine ?? ["-M", "microvm,acpi=off"]),
      ..."-accel tcg,tb-size=32 -cpu max -m 128M -nodefaults -no-user-config -no-reboot".split(" "),
      ..."-display none -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4".split(" "),
      "-kernel",
      `/boot/vmlinuz-${release}`,
      "-initrd",
      join(lab, "initrd"),
      "-append",
      line,
    ],
    { timeoutMs: 60_000 },
  );
  assert.equal(outcome.stderr, "");
  const { code } = outcome;
  return {
    console: outcome.stdout.replaceAll("\r", ""),
    status: code === null || code % 2 === 0 ? undefined : (code - 1) / 2,
  };
}

test("a guest's program gets user, group, directory, environment, words and terminal, and its status arrives", async (t) => {
  const script = [
    'echo "id $(id -u) $(id -g) $(id -G)"',
    'echo "directory $PWD"',
    'echo "variable <$NAME> <$URUNIT_CONFIG>"',
    'echo "words $# <$1> <$2> <$3>"',
    'echo terminal >/dev/tty && echo "by a link" >/dev/stdout',
    "exit 42",
  ].join("\n");
  const ended = await boot(t, {
    config: "UES\nPATH=/nowhere:/bin\nNAME=a b=c 'd' \"e\"\nUEE\nUCS\nUID:1000\nGID:1001\nWD:/srv/a b\nUCE\n",
    program: "sh /script 'one two' three \"four five\"",
    files: [
      { path: "srv", mode: 0o40755 },
      { path: "srv/a b", mode: 0o40755 },
      { path: "script", mode: 0o100644, content: script },
    ],
  });
  if (ended === undefined) return;
  assert.equal(
    ended.console,
    [
      "id 1000 1001 1001",
      "directory /srv/a b",
      "variable <a b=c 'd' \"e\"> <>",
      "words 3 <one two> <three> <four five>",
      "terminal",
      "by a link",
      "",
    ].join("\n"),
  );
  assert.equal(ended.status, 42);
});

test("a program that is not there ends a guest with 127 and a line that names it", async (t) => {
  const ended = await boot(t, { program: "no-such-program x" });
  if (ended === undefined) return;
  assert.match(ended.console, /^tripod-init: cannot run no-such-program: No such file or directory/m);
  assert.equal(ended.status, 127);
});

test("a malformed configuration ends a guest with 125 and a line that says where", async (t) => {
  const ended = await boot(t, { program: "sh", config: "UCS\nUID:root\nUCE\n" });
  if (ended === undefined) return;
  assert.match(ended.console, /^tripod-init: \/urunit.conf, line 2: wants a number/m);
  assert.equal(ended.status, 125);
});

test("disks are mounted, a default route is made, signals are told, and what is left over is ended before the disks are closed", async (t) => {
  const modules = `/lib/modules/${release}/kernel/drivers`;
  const names = [
    "virtio/virtio_ring.ko",
    "virtio/virtio.ko",
    "virtio/virtio_pci_modern_dev.ko",
    "virtio/virtio_pci_legacy_dev.ko",
    "virtio/virtio_pci.ko",
    "block/virtio_blk.ko",
    "net/dummy.ko",
  ];
  const start = [
    "#!/bin/sh",
    ...names.map((_, index) => `insmod /modules/${index}`),
    "ip link add eth0 type dummy && ip address add 10.0.0.2/32 dev eth0 && ip link set eth0 up",
    'exec /tripod-init "$@"',
    "",
  ].join("\n");
  const script = [
    "cat /proc/mounts",
    "ip route",
    "(trap '' HUP; trap 'echo asked to end; echo kept >/srv/data/file; exit' TERM; while :; do sleep 0.1; done) &",
    "(trap '' HUP TERM; while :; do sleep 0.1; done) &",
    "trap 'echo told; kill -KILL $$' HUP",
    "sleep 0.3; kill -HUP 1; while :; do sleep 0.1; done",
    "",
  ].join("\n");
  const disks = mkdtempSync(join(tmpdir(), "tripod-disks-"));
  t.after(() => rmSync(disks, { recursive: true }));
  for (const name of ["a", "b"]) {
    const made = await runToEnd("/sbin/mkfs.ext4", ["-q", "-L", name, join(disks, name), "2M"]);
    assert.equal(made.code, 0, made.stderr);
  }
  const ended = await boot(t, {
    config: "UBS\nID:vol0\nMP:/srv/data\nID:FC0\nMP:/more\nUBE\n",
    line: "URUNIT_DEFROUTE=1",
    program: "sh /script",
    machine: [
      ..."-M pc -vga none".split(" "),
      ..."-blockdev".split(" "),
      `driver=file,node-name=a,filename=${join(disks, "a")}`,
      "-device",
      "virtio-blk-pci,drive=a",
      "-blockdev",
      `driver=file,node-name=b,filename=${join(disks, "b")}`,
      "-device",
      "virtio-blk-pci,drive=b,serial=vol0",
    ],
    files: [
      { path: "start", mode: 0o100755, content: start },
      { path: "script", mode: 0o100644, content: script },
      { path: "modules", mode: 0o40755 },
      ...names.map((name, index) => ({
        path: `modules/${index}`,
        mode: 0o100644,
        content: readFileSync(join(modules, name)),
      })),
    ],
    init: "/start",
  });
  if (ended === undefined) return;
  assert.match(ended.console, /^\/dev\/vdb \/srv\/data ext4 rw/m);
  assert.match(ended.console, /^\/dev\/vda \/more ext4 rw/m);
  assert.match(ended.console, /^default dev eth0/m);
  assert.match(ended.console, /^told\n(Terminated\n)?asked to end$/m);
  // 128 + 9, of which QEMU's status keeps the lower seven bits.
  assert.equal(ended.status, 9);
  const kept = await runToEnd("/sbin/debugfs", ["-R", "cat file", join(disks, "b")]);
  assert.equal(kept.stdout, "kept\n");
  const clean = await runToEnd("/sbin/dumpe2fs", ["-h", join(disks, "b")]);
  assert.match(clean.stdout, /^Filesystem state: +clean$/m);
  assert.doesNotMatch(clean.stdout, /needs_recovery/);
});
