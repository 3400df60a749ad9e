/** What we say to QEMU is what QEMU understands: the rendered command line boots a kernel of the test's own, for real, by emulation. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { monitorDriver } from "../../src/monitor/index.ts";
import { hostPath } from "../../src/spec/paths.ts";
import type { MonitorBoot, Launch } from "../../src/spec/values.ts";
import { requires } from "../support/requires.ts";
import { outcomeOf } from "../support/tripod.ts";

const program = "/usr/bin/qemu-system-x86_64";
const loadAddress = 0x100000;

/** A PVH kernel that writes `text` to the first serial port and then faults three times, which resets the machine. */
function tinyKernel(text: string): Buffer {
  const headers = 64 + 2 * 56;
  // name size, descriptor size, type XEN_ELFNOTE_PHYS32_ENTRY, "Xen", entry
  const note = Buffer.alloc(20);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(4, 4);
  note.writeUInt32LE(18, 8);
  note.write("Xen\0", 12);
  const entry = loadAddress + headers + note.length;
  note.writeUInt32LE(entry, 16);
  const code = Buffer.from(
    [
      [0xbe, 0, 0, 0, 0], // mov esi, text
      [0x66, 0xba, 0xf8, 0x03], // mov dx, 0x3f8
      [0xac], // next: lodsb
      [0x84, 0xc0], // test al, al
      [0x74, 0x03], // jz end
      [0xee], // out dx, al
      [0xeb, 0xf8], // jmp next
      [0x0f, 0x01, 0x1d, 0, 0, 0, 0], // end: lidt [six zero bytes]
      [0xcc], // int3
    ].flat(),
  );
  const zeros = Buffer.alloc(8);
  code.writeUInt32LE(entry + code.length + zeros.length, 1);
  code.writeUInt32LE(entry + code.length, code.length - 5);
  const body = Buffer.concat([note, code, zeros, Buffer.from(`${text}\0`)]);
  const size = headers + body.length;
  const head = Buffer.alloc(headers);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.writeUInt16LE(2, 16); // executable
  head.writeUInt16LE(62, 18); // x86-64
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(BigInt(entry), 24);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(64, 52);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(2, 56);
  const segment = (at: number, type: number, offset: number, length: number): void => {
    head.writeUInt32LE(type, at);
    head.writeUInt32LE(7, at + 4);
    head.writeBigUInt64LE(BigInt(offset), at + 8);
    head.writeBigUInt64LE(BigInt(loadAddress + offset), at + 16);
    head.writeBigUInt64LE(BigInt(loadAddress + offset), at + 24);
    head.writeBigUInt64LE(BigInt(length), at + 32);
    head.writeBigUInt64LE(BigInt(length), at + 40);
    head.writeBigUInt64LE(4n, at + 48);
  };
  segment(64, 1, 0, size);
  segment(64 + 56, 4, headers, note.length);
  return Buffer.concat([head, body]);
}

function labOf(t: TestContext): string {
  const lab = mkdtempSync(join(tmpdir(), "tripod-qemu-"));
  t.after(() => rmSync(lab, { recursive: true }));
  writeFileSync(join(lab, "kernel"), tinyKernel("said by the guest\n"));
  for (const disk of ["a", "b"]) {
    writeFileSync(join(lab, disk), "");
    truncateSync(join(lab, disk), 1 << 20);
  }
  return lab;
}

function rendered(lab: string, disks: MonitorBoot["disks"]): Launch {
  const driver = monitorDriver("qemu", program);
  assert.ok(driver !== undefined);
  return driver.render({
    guest: "pvh",
    boot: { kernel: hostPath(join(lab, "kernel")), bootLine: "a=1,b=2 c", disks, nics: [], shares: [] },
    machine: { arch: "amd64", memoryBytes: 16 << 20, vcpus: 2, kvm: false },
    program: hostPath(program),
    needs: [],
  });
}

/** Runs it as the warden would but for the private root: the paths in it are those of the host. */
async function run(launch: Launch, more: readonly string[] = []) {
  const where = new Map(launch.binds.map(({ from, at }) => [at as string, from as string]));
  const fds = launch.opens.map(({ path, write }) => openSync(path, write ? "r+" : "r"));
  const [, ...argv] = launch.argv;
  const moduleDir = driverModules().find((file) => existsSync(file));
  const child = spawn(program, [...argv.map((word) => where.get(word) ?? word), ...more], {
    env: moduleDir === undefined ? {} : { QEMU_MODULE_DIR: dirname(moduleDir) },
    stdio: ["ignore", "pipe", "pipe", ...fds],
  });
  try {
    return await outcomeOf(child, "QEMU", 20_000);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

const driverModules = (): string[] =>
  (monitorDriver("qemu", program)?.needs.files ?? []).flatMap(({ modules, dirs, names }) =>
    modules ? dirs.flatMap((dir) => names.map((name) => join(dir, name))) : [],
  );

test("QEMU boots the kernel of the rendered command line, and a reset of the guest ends it with 0", async (t) => {
  if (!requires(t, "qemu-system-x86_64", existsSync(program))) return;
  const lab = labOf(t);
  const outcome = await run(rendered(lab, []));
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.stdout, "said by the guest\n");
  assert.equal(outcome.code, 0);
});

test("QEMU takes disks by fd, one of them read-only and one with sectors of 4096 bytes", async (t) => {
  if (!requires(t, "qemu-system-x86_64", existsSync(program))) return;
  const lab = labOf(t);
  const outcome = await run(
    rendered(lab, [
      { name: "a", path: hostPath(join(lab, "a")), readonly: false, sectorBytes: 4096 },
      { name: "b", path: hostPath(join(lab, "b")), readonly: true },
    ]),
  );
  assert.equal(outcome.stderr, "");
  assert.equal(outcome.code, 0);
});

test("a word that QEMU does not know would be noticed", async (t) => {
  if (!requires(t, "qemu-system-x86_64", existsSync(program))) return;
  const outcome = await run(rendered(labOf(t), []), ["-device", "no-such-device"]);
  assert.notEqual(outcome.code, 0);
});
