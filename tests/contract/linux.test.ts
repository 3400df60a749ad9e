/** What we say to Linux is what Linux understands: a distribution's kernel boots by our command line and our archives, for real, by emulation. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { archive } from "../../src/guest/linux/cpio.ts";
import { linux } from "../../src/guest/linux/linux.ts";
import type { GuestInput } from "../../src/guest/guest.ts";
import { dualStack, sptOffer } from "../../src/spec/fixtures.ts";
import { type HostPath, hostPath } from "../../src/spec/paths.ts";
import type { InitrdPart } from "../../src/spec/values.ts";
import { requires } from "../support/requires.ts";

const program = "/usr/bin/qemu-system-x86_64";
const busybox = "/bin/busybox";
const kernelName = existsSync("/boot")
  ? readdirSync("/boot").find((name) => name.startsWith("vmlinuz-"))
  : undefined;
const deadlineMs = 120_000;

/** As the warden's step `concat` joins them. */
function joined(parts: readonly InitrdPart[]): Buffer {
  let all = Buffer.alloc(0);
  for (const part of parts) {
    const bytes = "path" in part ? readFileSync(part.path) : Buffer.from(part.content, "base64");
    all = Buffer.concat([all, Buffer.alloc((4 - (all.length % 4)) % 4), bytes]);
  }
  return all;
}

/** A first process that says what it was given, each word in brackets, and ends the machine. */
const teller = `#!/bin/busybox sh
b=/bin/busybox
$b echo "BEGIN"
for word in "$@"; do $b echo "ARG [$word]"; done
$b env | $b sed 's/.*/ENV [&]/'
for file in /urunit.conf /etc/resolv.conf /etc/hostname /own; do
  [ -e $file ] && $b stat -c "FILE $file %a %u" $file && $b sed "s/.*/LINE [&]/" $file
done
$b echo "END"
$b reboot -f
`;

function labOf(t: TestContext): { readonly dir: string; readonly initrd: HostPath; readonly init: HostPath } {
  const dir = mkdtempSync(join(tmpdir(), "tripod-linux-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const init = hostPath(join(dir, "init"));
  writeFileSync(init, teller);
  const initrd = hostPath(join(dir, "initrd"));
  const members = archive([
    { name: "bin", mode: 0o755 },
    {
      name: "bin/busybox",
      mode: 0o755,
      content: { path: hostPath(busybox), sizeBytes: statSync(busybox).size },
    },
    { name: "dev", mode: 0o755 },
    { name: "init", mode: 0o755, content: Buffer.from(teller) },
    { name: "own", mode: 0o644, content: Buffer.from("the image's\n") },
  ]);
  writeFileSync(initrd, joined(members));
  return { dir, initrd, init };
}

const { bootLine: _template, ...plainOffer } = sptOffer;

/** What the guest says between BEGIN and END. */
function boot(
  dir: string,
  kernel: string,
  change: Pick<GuestInput, "args" | "env" | "root"> & Partial<GuestInput>,
) {
  const { bootLine, initrd } = linux.boot({
    offer: { ...plainOffer, guest: "linux" },
    kernel: hostPath(kernel),
    hostname: "web",
    monitor: "qemu",
    net: dualStack,
    netDevices: [],
    blockDevices: [],
    disks: [],
    mounts: [],
    user: { uid: 1000, gid: 17 },
    cwd: "/srv",
    ownsTree: false,
    ...change,
  });
  const file = join(dir, "joined");
  writeFileSync(file, joined(initrd));
  const machine =
    "-M pc -cpu max -m 256 -nodefaults -no-reboot -display none -serial stdio -monitor none".split(" ");
  const result = spawnSync(
    program,
    [
      ...machine,
      "-kernel",
      kernel,
      "-initrd",
      file,
      "-append",
      `${bootLine.replace("panic=-1", "panic=-1 quiet")}`,
    ],
    { timeout: deadlineMs, encoding: "utf8" },
  );
  const said = result.stdout.replaceAll("\r", "");
  assert.match(said, /BEGIN\n[^]*END\n/, `${said.slice(-2000)}${result.stderr}`);
  return said.slice(said.indexOf("BEGIN\n"), said.indexOf("END\n"));
}

function ready(t: TestContext): string | undefined {
  if (!requires(t, "qemu-system-x86_64", existsSync(program))) return undefined;
  if (!requires(t, "busybox", existsSync(busybox))) return undefined;
  if (!requires(t, "a kernel in /boot", kernelName !== undefined)) return undefined;
  return `/boot/${kernelName}`;
}

test("Linux gives the first process of an image its arguments and variables as they were", (t) => {
  const kernel = ready(t);
  if (kernel === undefined) return;
  const { dir, initrd } = labOf(t);
  const args = [
    "plain",
    "a b",
    "",
    "it's",
    'x"1"y',
    "k=v w",
    "k=",
    "grün à",
    "---",
    "-v",
    "#no",
    "$HOME",
    "a\\b",
  ];
  const env = ["A=1", "B=two words", "C=", "D=grün à", "PATH=/usr/bin"];
  const said = boot(dir, kernel, { args: ["/init", ...args], env, root: { kind: "initrd", path: initrd } });
  assert.deepEqual(said.match(/(?<=^ARG \[).*(?=\]$)/gm), args);
  for (const entry of env) assert.ok(said.includes(`ENV [${entry}]\n`), `${entry} in ${said}`);
});

test("our first process and its configuration lie in the image's initrd, and nothing of the image is lost", (t) => {
  const kernel = ready(t);
  if (kernel === undefined) return;
  const { dir, initrd, init } = labOf(t);
  const said = boot(dir, kernel, {
    args: ["/app", "a b"],
    env: ["A=two words", 'Q="'],
    root: { kind: "initrd", path: initrd },
    init: { path: init, sizeBytes: statSync(init).size },
  });
  assert.deepEqual(said.match(/(?<=^ARG \[).*(?=\]$)/gm), ["/app", "a b"]);
  assert.match(said, /ENV \[URUNIT_CONFIG=\/urunit\.conf\]/);
  assert.match(said, /FILE \/urunit\.conf 400 0\n/);
  assert.match(
    said,
    /LINE \[UES\]\nLINE \[A=two words\]\nLINE \[Q="\]\nLINE \[UEE\]\nLINE \[UCS\]\nLINE \[UID:1000\]\n/,
  );
  assert.match(said, /FILE \/etc\/resolv\.conf 644 0\nLINE \[nameserver 10\.128\.0\.1\]\n/);
  assert.match(said, /LINE \[web\]\n/);
  assert.match(said, /LINE \[the image's\]\n/);
});
