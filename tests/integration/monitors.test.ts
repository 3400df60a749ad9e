/**
 * Monitors with guests that use what they were given, each in the confinement that a plan gives it: Linux reads and writes a disk and a directory, and a monitor
 * that its filter does not let do so would be killed.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { which } from "../../src/host/process.ts";
import { findNeeds } from "../../src/host/program-needs.ts";
import { startWarden } from "../../src/host/warden.ts";
import type { ModeInput, UnikernelWorkload } from "../../src/mode/input.ts";
import { launchOf, unikernel } from "../../src/mode/unikernel.ts";
import { monitorDriver } from "../../src/monitor/index.ts";
import { shareServerNeeds } from "../../src/monitor/share-server.ts";
import { sandboxFile } from "../../src/spec/fixtures.ts";
import { type HostPath, hostPath, sandboxPath, untrustedPath } from "../../src/spec/paths.ts";
import { type GuestBoot, type MonitorKind, type ShareKind, shareKinds } from "../../src/spec/values.ts";
import { type LinuxKernel, type Purpose, initrdOf, linuxKernel } from "../support/linux.ts";
import { requires } from "../support/requires.ts";
import { type Lab, makeLab, tree } from "../support/tripod.ts";

const mebibyte = 1024 * 1024;
const dirs = [...(process.env["PATH"] ?? "").split(":"), "/usr/libexec"];
const user = 1_800_000_001;

interface Wanted {
  readonly monitor: MonitorKind;
  readonly program: HostPath;
  readonly kvm: boolean;
  readonly boot: Omit<GuestBoot, "bootLine" | "nics">;
}

/** Runs a Linux guest without a network to its end, and returns what it said. */
async function run(
  lab: Lab,
  { monitor, program, kvm, boot }: Wanted,
): Promise<{ code: number; text: string }> {
  const id = `${monitor}`.padEnd(32, "0").replaceAll(/[^0-9a-f]/g, "a");
  const stateDir = hostPath(join(lab.root, "run/default", id));
  mkdirSync(stateDir, { recursive: true });
  const driver = monitorDriver(monitor, program);
  assert.ok(driver !== undefined);
  const virtiofsd = which("virtiofsd", dirs);
  const workload: UnikernelWorkload = {
    mode: "unikernel",
    offer: {
      mode: "unikernel",
      arch: "amd64",
      manifest: `sha256:${"0".repeat(64)}`,
      guest: "linux",
      monitors: [monitor],
      kernel: untrustedPath("/kernel"),
    },
    monitor,
    machine: { arch: "amd64", memoryBytes: 192 * mebibyte, vcpus: 1, kvm },
    program,
    needs: await findNeeds(program, driver.needs("linux", "amd64"), "amd64"),
    ...(virtiofsd === undefined
      ? {}
      : {
          shareServer: { program: virtiofsd, needs: await findNeeds(virtiofsd, shareServerNeeds, "amd64") },
        }),
    kernel: boot.kernel,
    root: { kind: "virtiofs", path: hostPath("/"), readonly: true },
    blockDevices: [],
    args: [],
    env: [],
    netDevices: [],
    disks: boot.disks,
    mounts: [],
    user: { uid: 0, gid: 0 },
    cwd: "/",
  };
  const input: ModeInput = {
    sandbox: {
      ...sandboxFile,
      id,
      network: "none",
      ports: [],
      limits: {},
      credentials: { uid: user, gid: user, groups: [] },
    },
    stateDir,
    hostname: "guest",
    cniPluginDirs: [],
    hostDns: { servers: [], search: [], options: [] },
    stdio: { terminal: false, stdin: "null", tee: false, log: { maxBytes: mebibyte, files: 1 } },
    workload,
  };
  const bootLine = "console=ttyS0 quiet panic=-1 reboot=k rdinit=/init";
  const { plan } = launchOf(input, workload, { boot: { ...boot, bootLine, nics: [] }, net: undefined });
  const warden = await startWarden(
    hostPath(join(tree, "bin/tripod-warden")),
    stateDir,
    hostPath(join(lab.root, "lib")),
    { stdin: "ignore", output: "ignore" },
  );
  try {
    await warden.prepare(unikernel.prepare(input, workload), "keep");
    await warden.launch(plan);
    await warden.start();
    const { exitCode } = await warden.exited();
    return { code: exitCode, text: textOf(readFileSync(join(stateDir, "log"), "utf8")) };
  } finally {
    // A warden whose owner leaves before the start has succeeded undoes everything.
    warden.close();
  }
}

/** The log's text: a part of a line is marked `P`, its last part `F`. */
const textOf = (log: string): string =>
  log
    .split("\n")
    .map((entry) => /^\S+ std\w+ ([PF]) ([^]*)$/.exec(entry))
    .map((match) => `${match?.[2] ?? ""}${match?.[1] === "F" ? "\n" : ""}`)
    .join("");

const usesDisks = `
echo "disks $(cat /sys/block/vda/size) $(cat /sys/block/vdb/ro)"
dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 10
yes written | dd of=/dev/vda bs=4096 seek=1 count=16 iflag=fullblock conv=fsync 2>/dev/null && echo disk written
dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>/dev/null || echo read-only disk refused`;
const usesShares = (options: string): string => `
mkdir /mnt/ro /mnt/rw
mount ${options} ro /mnt/ro && mount ${options} rw /mnt/rw && echo shares mounted
cat /mnt/ro/file; ls -l /mnt/ro | grep -c "link -> file"
touch /mnt/ro/new 2>/dev/null || echo read-only share refused
echo by the guest > /mnt/rw/new && mv /mnt/rw/new /mnt/rw/newer && mkdir /mnt/rw/d && rmdir /mnt/rw/d && echo share written
cat /mnt/rw/secret 2>/dev/null || echo secret refused
cat /mnt/rw/run/secret && echo no >> /mnt/rw/run/secret || echo read-only volume refused
echo by the guest > /mnt/ro/vol/new && echo volume written
touch /mnt/rw/run/here && echo volume has its place
cd /mnt/rw
for attempt in "ln -s newer s" "ln newer h" "chmod 600 newer" "chown 5:5 newer" "mkfifo f" "mknod n c 1 3" "touch -d @1 newer" "truncate -s 99 t" "df ." "ls -la" "rm -f s h f n t" sync
do $attempt >/dev/null 2>&1; done
cd /; umount /mnt/rw && echo share exercised`;

/** A disk that says what it is, one to read only, and two directories; whatever may be written belongs to the monitor's user. */
function materials(
  lab: Lab,
  kernel: LinuxKernel,
  purposes: readonly Purpose[],
  script: string,
  programs: readonly string[] = [],
): Wanted["boot"] {
  const at = (name: string): HostPath => hostPath(join(lab.root, name));
  writeFileSync(at("initrd"), initrdOf(kernel, purposes, script, programs));
  for (const name of ["a", "b"]) {
    writeFileSync(at(name), "on a disk\n");
    truncateSync(at(name), mebibyte);
  }
  // Monitors that open a disk by path do so as this user.
  chmodSync(at("a"), 0o666);
  mkdirSync(at("tree"));
  writeFileSync(at("tree/file"), "in a directory\n");
  symlinkSync("file", at("tree/link"));
  mkdirSync(at("data/run"), { recursive: true });
  symlinkSync("/run", at("data/link"));
  for (const name of ["data", "data/run"]) chownSync(at(name), user, user);
  mkdirSync(at("volume"));
  chownSync(at("volume"), user, user);
  writeFileSync(at("token"), "of a volume\n");
  writeFileSync(at("data/secret"), "of the host's\n", { mode: 0o600 });
  return {
    kernel: hostPath(join(kernel, "vmlinuz")),
    initrd: [{ path: at("initrd") }],
    disks: [
      { name: "a", path: at("a"), readonly: false },
      { name: "b", path: at("b"), readonly: true },
    ],
    shares: [],
  };
}

const shares = (lab: Lab, kind: ShareKind): GuestBoot["shares"] => [
  {
    kind,
    tag: "ro",
    path: hostPath(join(lab.root, "tree")),
    readonly: true,
    volumes: [
      {
        from: hostPath(join(lab.root, "volume")),
        at: sandboxPath("/vol"),
        readonly: false,
        recursive: true,
      },
    ],
  },
  {
    kind,
    tag: "rw",
    path: hostPath(join(lab.root, "data")),
    readonly: false,
    volumes: [
      {
        from: hostPath(join(lab.root, "token")),
        at: sandboxPath("/link/secret"),
        readonly: true,
        recursive: false,
      },
    ],
  },
];

const lines = (text: string): string[] => text.split("\n").map((line) => line.trimEnd());

function assertDisks(lab: Lab, said: readonly string[]): void {
  for (const line of ["disks 2048 1", "on a disk", "disk written", "read-only disk refused"])
    assert.ok(said.includes(line), `${line}: ${said.join("\n")}`);
  assert.equal(readFileSync(join(lab.root, "a")).subarray(4096, 4104).toString(), "written\n");
}

function assertShares(lab: Lab, said: readonly string[]): void {
  for (const line of [
    "shares mounted",
    "in a directory",
    "1",
    "read-only share refused",
    "share written",
    "secret refused",
    "of a volume",
    "read-only volume refused",
    "volume written",
    "volume has its place",
    "share exercised",
  ])
    assert.ok(said.includes(line), `${line}: ${said.join("\n")}`);
  for (const name of ["data/newer", "volume/new"])
    assert.equal(readFileSync(join(lab.root, name), "utf8"), "by the guest\n");
  // Its place is a file of the directory's own; the link to it is followed there, and what is mounted on it is not seen here.
  assert.equal(readFileSync(join(lab.root, "data/run/secret"), "utf8"), "");
  assert.equal(readFileSync(join(lab.root, "token"), "utf8"), "of a volume\n");
}

const options: Readonly<Record<ShareKind, string>> = {
  virtiofs: "-t virtiofs",
  "9p": "-t 9p -o trans=virtio,version=9p2000.L",
};

/** The kernel, or undefined where this test is skipped. */
async function kernelFor(t: TestContext): Promise<LinuxKernel | undefined> {
  const kernel = process.arch === "x64" ? await linuxKernel() : undefined;
  return requires(t, "Debian's kernel for amd64", kernel !== undefined) ? kernel : undefined;
}

const canServe = (kind: ShareKind): boolean => kind === "9p" || which("virtiofsd", dirs) !== undefined;

for (const kind of shareKinds)
  test(`Linux by QEMU uses its disks, and directories by ${kind}`, { timeout: 120_000 }, async (t) => {
    const kernel = await kernelFor(t);
    if (kernel === undefined || !requires(t, "virtiofsd", canServe(kind))) return;
    const lab = makeLab(t);
    const script = `${usesDisks}\n${usesShares(options[kind])}`;
    const { code, text } = await run(lab, {
      monitor: "qemu",
      program: hostPath("/usr/bin/qemu-system-x86_64"),
      kvm: false,
      boot: { ...materials(lab, kernel, ["pci", "disk", kind], script), shares: shares(lab, kind) },
    });
    assert.equal(code, 0, text);
    assertDisks(lab, lines(text));
    assertShares(lab, lines(text));
  });

const port = 2048;
/** `struct sockaddr_vm`, to the host. */
const address = `pack("SSLLx4", 40, 0, ${port}, 2)`;
const callsHost = `/usr/bin/perl -e 'socket(S, 40, 1, 0) && connect(S, ${address}) or die "vsock: $!"; syswrite S, "by vsock\n"; print <S>'`;
/** Answers the first that calls with what it said, twice. */
const hostAgent = `socket(L, 40, 1, 0) && bind(L, pack("SSLLx4", 40, 0, ${port}, 0xffffffff)) && listen(L, 1) or die "vsock: $!";
$| = 1; print "listening\n"; accept(S, L) or die; sysread S, $said, 99; syswrite S, "heard $said"`;

test("Linux by QEMU calls an agent of the host by vsock", { timeout: 120_000 }, async (t) => {
  const kernel = await kernelFor(t);
  if (kernel === undefined || !requires(t, "vhost-vsock", existsSync("/dev/vhost-vsock"))) return;
  const lab = makeLab(t);
  const agent = spawn("perl", ["-e", hostAgent], { stdio: ["ignore", "pipe", "inherit"], timeout: 100_000 });
  t.after(() => agent.kill("SIGKILL"));
  await once(agent.stdout, "data");
  const { code, text } = await run(lab, {
    monitor: "qemu",
    program: hostPath("/usr/bin/qemu-system-x86_64"),
    kvm: false,
    boot: {
      ...materials(lab, kernel, ["pci", "vsock"], callsHost, ["/usr/bin/perl"]),
      disks: [],
      vsock: { cid: user, port },
    },
  });
  assert.equal(code, 0, text);
  assert.ok(lines(text).includes("heard by vsock"), text);
});

const onKvm = [
  ["firecracker", "mmio", undefined],
  ["cloud-hypervisor", "pci", "virtiofs"],
] as const;

/** What a test of a monitor needs that runs by KVM alone; undefined where it is skipped. */
async function onKvmFor(
  t: TestContext,
  monitor: MonitorKind,
): Promise<{ readonly kernel: LinuxKernel; readonly program: HostPath; readonly lab: Lab } | undefined> {
  const kernel = await kernelFor(t);
  const program = which(monitor, dirs);
  if (kernel === undefined || !requires(t, monitor, program !== undefined) || program === undefined)
    return undefined;
  const lab = makeLab(t);
  const facts = await lab.tripod(["check", "-o", "json"]);
  const hasKvm = facts.stdout.includes("linux: Guests run");
  return requires(t, "kvm that runs Linux", hasKvm) ? { kernel, program, lab } : undefined;
}

for (const [monitor, bus] of onKvm)
  test(`Linux by ${monitor} calls an agent of the host by vsock`, { timeout: 120_000 }, async (t) => {
    const given = await onKvmFor(t, monitor);
    if (given === undefined) return;
    const { kernel, program, lab } = given;
    const socket = hostPath(join(lab.root, `vaccel.sock_${port}`));
    const agent = createServer((caller) => {
      caller.once("data", (said) => caller.end(`heard ${said}`));
    });
    t.after(() => agent.close());
    await new Promise<void>((resolve) => agent.listen(socket, resolve));
    chmodSync(socket, 0o666);
    const script = `${callsHost}\n${monitor === "firecracker" ? "reboot -f" : ""}`;
    const { code, text } = await run(lab, {
      monitor,
      program,
      kvm: true,
      boot: {
        ...materials(lab, kernel, [bus, "vsock"], script, ["/usr/bin/perl"]),
        vsock: { cid: user, port, socket },
      },
    });
    assert.equal(code, 0, text);
    assert.ok(lines(text).includes("heard by vsock"), text);
  });

for (const [monitor, bus, kind] of onKvm)
  test(`Linux by ${monitor} uses what it was given`, { timeout: 120_000 }, async (t) => {
    const given = await onKvmFor(t, monitor);
    if (given === undefined) return;
    const { kernel, program, lab } = given;
    const served = kind !== undefined && canServe(kind) ? kind : undefined;
    const script = [
      usesDisks,
      served === undefined ? "" : usesShares(options[served]),
      // Firecracker's machine ends with a reset.
      monitor === "firecracker" ? "reboot -f" : "",
    ].join("\n");
    const boot = materials(lab, kernel, [bus, "disk", "virtiofs"], script);
    const { code, text } = await run(lab, {
      monitor,
      program,
      kvm: true,
      boot: { ...boot, shares: served === undefined ? [] : shares(lab, served) },
    });
    assert.equal(code, 0, text);
    assertDisks(lab, lines(text));
    if (served !== undefined) assertShares(lab, lines(text));
  });
