import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type BundleInput, bundleConfig } from "../spec/bundle.ts";
import { TripodError } from "../spec/errors.ts";
import { dualStack, pvhOffer, sandboxFile, sptOffer } from "../spec/fixtures.ts";
import { hostPath, sandboxPath } from "../spec/paths.ts";
import type { Plan, Step, StepKind } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { SandboxFile } from "../spec/values.ts";
import { launch, prepare } from "./index.ts";
import type { ContainerWorkload, ModeInput, UnikernelWorkload } from "./input.ts";

const mebibyte = 1024 * 1024;
const stateDir = hostPath("/run/tripod/default/0123456789abcdef0123456789abcdef");

const spt: UnikernelWorkload = {
  mode: "unikernel",
  offer: sptOffer,
  monitor: "spt",
  machine: { arch: "amd64", memoryBytes: 16 * mebibyte, vcpus: 1, kvm: false },
  program: hostPath("/opt/tripod/bin/tripod-tender"),
  needs: [],
  kernel: hostPath("/var/lib/tripod/layers/5/kernel"),
  root: { kind: "none" },
  args: ["port=80"],
  env: ["A=1"],
  netDevices: ["service0"],
  blockDevices: [],
  disks: [],
  mounts: [],
  user: { uid: 0, gid: 0 },
  cwd: "/",
};
const qemu: UnikernelWorkload = {
  ...spt,
  offer: pvhOffer,
  monitor: "qemu",
  machine: { ...spt.machine, kvm: true },
  program: hostPath("/usr/bin/qemu-system-x86_64"),
  needs: [
    { from: hostPath("/usr/lib64"), at: sandboxPath("/lib64"), executable: true },
    { from: hostPath("/usr/share/qemu/qboot.rom"), at: sandboxPath("/usr/share/qemu/qboot.rom") },
  ],
  netDevices: [],
};
const firecracker: UnikernelWorkload = {
  ...qemu,
  monitor: "firecracker",
  program: hostPath("/usr/bin/firecracker"),
  needs: [],
};
const cloudHypervisor: UnikernelWorkload = {
  ...firecracker,
  monitor: "cloud-hypervisor",
  program: hostPath("/usr/bin/cloud-hypervisor"),
};
const bundle: BundleInput = {
  arch: "amd64",
  image: { Entrypoint: ["/httpreply"], Env: ["PATH=/"] },
  wish: { args: [], env: [] },
  inherited: {},
  user: { uid: 0, gid: 0 },
  hostname: "web",
  rootPath: "../rootfs",
  readonlyRoot: false,
  cgroupsPath: `/tripod/default/${sandboxFile.id}`,
  limits: sandboxFile.limits,
  terminal: false,
  volumes: [],
  tmpfs: [],
  files: [],
};
const container: ContainerWorkload = {
  mode: "container",
  runtime: "runc",
  program: hostPath("/usr/sbin/runc"),
  lowers: [hostPath("/var/lib/tripod/layers/b"), hostPath("/var/lib/tripod/layers/a")],
  overlay: true,
  config: bundleConfig(bundle),
};

const inputOf = (workload: ModeInput["workload"], change: Partial<SandboxFile> = {}): ModeInput => ({
  sandbox: { ...sandboxFile, ...change },
  stateDir,
  hostname: "web",
  cniPluginDirs: [hostPath("/usr/lib/cni")],
  hostDns: { servers: ["127.0.0.53", "192.0.2.53"], search: [], options: ["ndots:1"] },
  stdio: { terminal: false, stdin: "null", tee: true, log: { maxBytes: 16 * mebibyte, files: 3 } },
  workload,
});

const noNet: NetFacts = { interfaces: [], routes: [], dns: { servers: [], search: [] } };

/** Base64 as text where it is text, so that a reviewer can read the golden files; a filter as its length. */
const readable = (plan: Plan): unknown =>
  JSON.parse(
    JSON.stringify(plan, (key, value: unknown) => {
      if (typeof value !== "string") return value;
      if (key === "content") return `text: ${Buffer.from(value, "base64").toString()}`;
      return key === "seccomp" ? "a filter" : value;
    }),
  );

const both = (input: ModeInput, net: NetFacts): { ground: Plan; launched: Plan } => ({
  ground: prepare(input),
  launched: launch(input, net).plan,
});

const cases = {
  "unikernel-spt": () => both(inputOf(spt), dualStack),
  "unikernel-spt-none": () => both(inputOf(spt, { network: "none", ports: [] }), noNet),
  "unikernel-qemu": () => both(inputOf(qemu), dualStack),
  "unikernel-firecracker": () => both(inputOf(firecracker), dualStack),
  "unikernel-cloud-hypervisor": () => both(inputOf(cloudHypervisor), dualStack),
  container: () => both(inputOf(container), dualStack),
  "container-none-copy": () =>
    both(inputOf({ ...container, overlay: false, stopSignal: 3 }, { network: "none", ports: [] }), noNet),
} as const;

// `UPDATE_GOLDEN=1 node --test 'src/mode/*.test.ts'` writes them anew; the diff is for the reviewer.
for (const [name, plans] of Object.entries(cases))
  test(`the plans of ${name} are golden/${name}.json`, () => {
    const path = join(import.meta.dirname, "golden", `${name}.json`);
    const { ground, launched } = plans();
    const value = { ground: readable(ground), launch: readable(launched) };
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
    assert.deepEqual(value, JSON.parse(readFileSync(path, "utf8")));
  });

const stepsOf = (plans: { ground: Plan; launched: Plan }): Step[] => [
  ...plans.ground.steps,
  ...plans.launched.steps,
];
const oneOf = <Kind extends StepKind>(steps: readonly Step[], kind: Kind): Extract<Step, { do: Kind }> => {
  const found = steps.filter((step): step is Extract<Step, { do: Kind }> => step.do === kind);
  assert.equal(found.length, 1, kind);
  const [step] = found;
  assert.ok(step !== undefined);
  return step;
};

test("every fd that a spawn is given was opened earlier in the same plan, and every other opened one is not left over", () => {
  for (const plans of Object.values(cases)) {
    const { launched } = plans();
    const spawn = launched.steps.find((step) => step.do === "spawn");
    if (spawn === undefined) continue;
    const opened = launched.steps.flatMap((step) =>
      step.do === "open" || (step.do === "tap" && step.owner === undefined) ? [step.name] : [],
    );
    assert.deepEqual(spawn.fds.map(({ name }) => name).toSorted(), opened.toSorted());
    assert.equal(launched.steps.at(-1), spawn);
  }
});

test("a monitor runs in new namespaces of every kind, as nobody else, and cannot dump core", () => {
  for (const name of [
    "unikernel-spt",
    "unikernel-spt-none",
    "unikernel-qemu",
    "unikernel-firecracker",
    "unikernel-cloud-hypervisor",
  ] as const) {
    const steps = stepsOf(cases[name]());
    const { make, join: joined } = oneOf(steps, "namespaces");
    assert.deepEqual([...make].toSorted(), ["cgroup", "ipc", "mount", "network", "pid", "uts"]);
    assert.deepEqual(joined, []);
    const spawn = oneOf(steps, "spawn");
    assert.equal(spawn.as.uid, 700_001);
    assert.ok(spawn.rlimits.some(({ type, hard }) => type === "core" && hard === 0));
    assert.ok(spawn.seccomp !== undefined, name);
  }
});

test("a monitor without credentials of its own is never planned", () => {
  const { credentials: _, ...without } = sandboxFile;
  const rootly = { ...sandboxFile, credentials: { uid: 0, gid: 5, groups: [] } };
  for (const sandbox of [without, rootly])
    assert.throws(
      () => launch({ ...inputOf(spt), sandbox }, dualStack),
      (error) => error instanceof TripodError && error.code === "bug",
    );
});

test("the memory limit is the guest's memory and the monitor's overhead; the user's other limits stay", () => {
  const { limits } = oneOf(stepsOf(cases["unikernel-qemu"]()), "cgroup");
  assert.ok((limits.memoryBytes ?? 0) >= 16 * mebibyte + 64 * mebibyte);
  assert.equal(limits.cpuQuotaUs, 50_000);
  assert.equal(limits.pids, 128);
  assert.equal(oneOf(prepare(inputOf(spt, { limits: { pids: 7 } })).steps, "cgroup").limits.pids, 7);
});

test("without a network a declared device gets a tap that takes nobody's frames", () => {
  const tap = oneOf(stepsOf(cases["unikernel-spt-none"]()), "tap");
  assert.equal(tap.redirect, undefined);
  assert.equal(oneOf(stepsOf(cases["unikernel-spt"]()), "tap").redirect, "eth0");
});

const limited = (workload: UnikernelWorkload): boolean =>
  oneOf(launch(inputOf(workload), dualStack).plan.steps, "spawn").rlimits.some(
    ({ type, hard }) => type === "fsize" && hard === 0,
  );

test("files to write are bounded: none without a writable disk", () => {
  const disk = { name: "storage", path: hostPath("/disks/a"), readonly: false };
  assert.equal(limited(spt), true);
  assert.equal(limited({ ...spt, disks: [{ ...disk, readonly: true }] }), true);
  assert.equal(limited({ ...spt, disks: [disk] }), false);
});

const linux: UnikernelWorkload = {
  ...qemu,
  offer: { ...pvhOffer, guest: "linux" },
  root: { kind: "initrd", path: hostPath("/layers/a/initrd") },
  args: ["/urunit", "/app"],
};

test("an initrd of several parts is joined first, and the monitor is given the joined file, which nobody writes", () => {
  const { steps } = launch(inputOf(linux), dualStack).plan;
  const joined = oneOf(steps, "concat");
  assert.equal(steps[0], joined);
  assert.equal(joined.mode, 0o444);
  assert.deepEqual(joined.parts[0], { from: "/layers/a/initrd" });
  assert.equal(joined.parts.length, 2);
  const bound = steps.find((step) => step.do === "bind" && step.from === `${stateDir}/${joined.at}`);
  assert.ok(bound?.do === "bind" && bound.readonly);
  const alone = launch(inputOf({ ...linux, offer: pvhOffer }), dualStack).plan.steps;
  assert.ok(alone.every((step) => step.do !== "concat"));
  assert.ok(alone.some((step) => step.do === "bind" && step.from === "/layers/a/initrd"));
});

test("a tree of the sandbox's own is made in the ground, before anything that lies in it is used", () => {
  const lowers = [hostPath("/layers/a")];
  const made = (overlay: boolean) => prepare(inputOf({ ...linux, tree: { lowers, overlay } })).steps;
  const overlaid = oneOf(made(true), "overlay");
  assert.deepEqual([overlaid.lowers, `${overlaid.at}`], [lowers, "rootfs"]);
  assert.deepEqual(oneOf(made(false), "copy").lowers, lowers);
  assert.ok(prepare(inputOf(linux)).steps.every((step) => step.do !== "overlay" && step.do !== "copy"));
});

test("name servers, our first process and its configuration are put into the sandbox's own tree, before anything is bound", () => {
  const share: UnikernelWorkload = {
    ...linux,
    root: { kind: "9p", path: hostPath(`${stateDir}/rootfs`), readonly: false },
    tree: { lowers: [hostPath("/layers/a")], overlay: true },
    args: ["/app"],
    init: { path: hostPath("/bin/tripod-init"), sizeBytes: 5 },
  };
  const { steps } = launch(inputOf(share), dualStack).plan;
  const begin = steps.flatMap((step) => ("at" in step ? [`${step.do} ${step.at}`] : [])).slice(0, 10);
  assert.deepEqual(begin, [
    "directory rootfs/proc",
    "directory rootfs/sys",
    "directory rootfs/dev",
    "directory rootfs/etc",
    "file rootfs/etc/resolv.conf",
    "file rootfs/etc/hosts",
    "file rootfs/etc/hostname",
    "directory rootfs/.tripod",
    "concat rootfs/.tripod/init",
    "file rootfs/urunit.conf",
  ]);
  const config = steps.find((step) => step.do === "file" && step.at === "rootfs/urunit.conf");
  const spawn = steps.find((step) => step.do === "spawn");
  // In it are the variables: the monitor's user reads it for the guest's root, and nobody else.
  assert.ok(config?.do === "file" && spawn?.do === "spawn");
  assert.deepEqual([config.mode, config.owner], [0o400, { uid: spawn.as.uid, gid: spawn.as.gid }]);
});

const refused = (workload: UnikernelWorkload): void =>
  assert.throws(
    () => launch(inputOf(workload), dualStack),
    (error) => error instanceof TripodError && error.code === "no-fit",
  );

test("what cannot be described or driven is an error before anything is done", () => {
  refused({ ...spt, monitor: "firecracker" });
  refused({ ...qemu, offer: { ...pvhOffer, guest: "mewz", arch: "arm64" } });
});

test("a dry run can show what the monitor was rendered to", () => {
  assert.equal(launch(inputOf(spt), dualStack).launch?.argv[0], "tripod-tender");
  assert.equal(launch(inputOf(container), dualStack).launch, undefined);
});

/** The limits on the monitor of `spt`, by the stream that is its input. */
function limitsBy(stdin: "null" | "engine"): string[] {
  const { plan } = launch({ ...inputOf(spt), stdio: { terminal: false, stdin, tee: false } }, dualStack);
  return plan.steps.flatMap((step) => (step.do === "spawn" ? step.rlimits.map(({ type }) => type) : []));
}

test("a monitor may write to files where an engine's streams are its own: one of them may be a file", () => {
  assert.deepEqual(limitsBy("null"), ["core", "nofile", "memlock", "msgqueue", "fsize"]);
  assert.deepEqual(limitsBy("engine"), ["core", "nofile", "memlock", "msgqueue"]);
});

/** Paths that the launch opens or binds without following links, where the kernel was found in a root file system. */
function guardedBy(workload: UnikernelWorkload): string[] {
  const { plan } = launch(inputOf({ ...workload, resolved: new Set([workload.kernel]) }), dualStack);
  return plan.steps.flatMap((step) => {
    if (step.do === "open") return step.nofollow === true ? [step.path] : [];
    return step.do === "bind" && step.nofollow === true ? [step.from] : [];
  });
}

test("what was found in a root file system is opened without following links, and nothing else is", () => {
  assert.deepEqual(guardedBy(spt), [spt.kernel]);
  assert.deepEqual(guardedBy(qemu), [qemu.kernel]);
});
