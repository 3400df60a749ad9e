/**
 * Unikernel mode: one monitor with one guest in a confinement of its own. All namespaces are new; the private root holds what the monitor opens by path and
 * nothing else; it runs as an unprivileged user of its own, in a cgroup, under a seccomp filter, with only the fds that it was given.
 */

import { guestDriver } from "../guest/index.ts";
import { monitorDriver } from "../monitor/index.ts";
import type { MonitorDriver } from "../monitor/monitor.ts";
import { shareServerBytes } from "../monitor/share-server.ts";
import { TripodError } from "../spec/errors.ts";
import { type HostPath, type StatePath, cgroupPath, sandboxPath, statePath } from "../spec/paths.ts";
import type { Credentials, FdGrant, Plan, Rlimit, Step } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import { present } from "../spec/present.ts";
import { effectiveDns } from "../spec/resolv.ts";
import { compileSeccomp } from "../spec/seccomp.ts";
import type { Arch, BindNeed, GuestBoot, Launch, MonitorBoot } from "../spec/values.ts";
import { hostPathOf, networkSteps, planOf } from "./common.ts";
import { behindNat, hookSteps, namespacesStep, natStep } from "./engine.ts";
import type { ModeDriver, ModeInput, UnikernelWorkload } from "./input.ts";

/** The private root is a tmpfs of mount points and small files. */
const rootBytes = 1024 * 1024;
/** Threads of a monitor: main, one per processor, and QEMU's workers. */
const defaultPids = 128;

export const unikernel: ModeDriver<UnikernelWorkload> = {
  prepare: (input, workload) =>
    planOf(input, [
      {
        do: "cgroup",
        path:
          input.engine?.cgroupPath ?? cgroupPath(`/tripod/${input.sandbox.namespace}/${input.sandbox.id}`),
        warden: input.engine !== undefined,
        limits: {
          pids: defaultPids,
          ...input.sandbox.limits,
          memoryBytes:
            workload.machine.memoryBytes +
            driverOf(workload).overheadBytes(workload.machine) +
            (workload.root.kind === "virtiofs" ? shareServerBytes : 0),
        },
      },
      namespacesStep(input),
      ...(input.engine === undefined ? networkSteps(input) : hookSteps(input.engine)),
      ...treeSteps(workload),
      { do: "root", sizeBytes: rootBytes },
    ]),
  launch: (input, workload, seen) => {
    const nat = input.engine?.nat;
    const net = nat === undefined || seen === undefined ? seen : behindNat(nat, seen);
    return launchOf(input, workload, { boot: describe(input, workload, net), net });
  },
};

/** Where the tree of a workload lies. */
export const treePath = statePath("rootfs");

const treeSteps = ({ tree }: UnikernelWorkload): Step[] =>
  tree === undefined ? [] : [{ do: tree.overlay ? "overlay" : "copy", lowers: tree.lowers, at: treePath }];

/** The launch of a guest that is described already. */
export function launchOf(
  input: ModeInput,
  workload: UnikernelWorkload,
  { boot, net }: { readonly boot: GuestBoot; readonly net: NetFacts | undefined },
): { readonly plan: Plan; readonly launch: Launch } {
  const { given, steps } = monitorBoot(input, boot);
  const launch = driverOf(workload).render({
    guest: workload.offer.guest,
    boot: given,
    machine: workload.machine,
    program: workload.program,
    needs: workload.needs,
    ...(workload.shareServer === undefined ? {} : { shareServer: workload.shareServer }),
  });
  const before = [...rootFileSteps(input, boot), ...steps, ...takeSteps(workload)];
  const all = [...before, ...launchSteps(input, workload, { boot, launch, net })];
  return { plan: planOf(input, guarded(all, workload.resolved ?? new Set())), launch };
}

/** What was resolved in a root file system is opened without following links again. */
function guarded(steps: readonly Step[], resolved: ReadonlySet<HostPath>): Step[] {
  const how = (path: HostPath): { readonly nofollow?: true } =>
    resolved.has(path) ? { nofollow: true } : {};
  return steps.map((step): Step => {
    switch (step.do) {
      case "open":
        return { ...step, ...how(step.path) };
      case "bind":
        return { ...step, ...how(step.from) };
      case "helper":
        return { ...step, binds: step.binds.map((bind) => ({ ...bind, ...how(bind.from) })) };
      case "concat":
        return {
          ...step,
          parts: step.parts.map((part) => ("from" in part ? { ...part, ...how(part.from) } : part)),
        };
      default:
        return step;
    }
  });
}

/** The mount stays until hooks, which may look at it, have run in the ground. */
const takeSteps = ({ taken }: UnikernelWorkload): Step[] =>
  taken === undefined
    ? []
    : [
        ...taken.copies.map(({ from, at }): Step => ({ do: "concat", at, parts: [{ from }], mode: 0o444 })),
        { do: "unmount", at: taken.at },
      ];

function driverOf({ monitor, program, offer }: UnikernelWorkload): MonitorDriver {
  const driver = monitorDriver(monitor, program);
  if (driver === undefined) throw new TripodError("no-fit", `Tripod cannot drive ${monitor} yet`);
  if (driver.features.guests[offer.guest]?.includes(offer.arch) !== true)
    throw new TripodError("no-fit", `${offer.guest} on ${monitor} on ${offer.arch} is not supported`);
  return driver;
}

function describe(input: ModeInput, workload: UnikernelWorkload, net: NetFacts | undefined): GuestBoot {
  const { offer, monitor } = workload;
  const guest = guestDriver(offer.guest);
  if (guest === undefined)
    throw new TripodError("no-fit", `Tripod cannot describe ${offer.guest} guests yet`);
  const { servers, search } = effectiveDns(net?.dns, input.hostDns);
  const boot = guest.boot({
    offer,
    monitor,
    kernel: workload.kernel,
    root: workload.root,
    args: workload.args,
    env: workload.env,
    hostname: input.hostname,
    net: net === undefined ? undefined : { ...net, dns: { servers, search } },
    netDevices: workload.netDevices,
    blockDevices: workload.blockDevices,
    disks: workload.disks,
    mounts: workload.mounts,
    user: workload.user,
    cwd: workload.cwd,
    ownsTree: workload.tree !== undefined,
    ...present({ wished: workload.wished, files: workload.files, init: workload.init }),
  });
  return workload.vsock === undefined ? boot : { ...boot, vsock: workload.vsock };
}

/** Where the parts of an initrd are joined: readable for the monitor's user once it is bound, written by nobody. */
const joinedInitrd = statePath("initrd");

/** One file is given as it is; everything else is joined first. */
function monitorBoot(
  input: ModeInput,
  boot: GuestBoot,
): { readonly given: MonitorBoot; readonly steps: readonly Step[] } {
  const { initrd, rootDirectories: _directories, rootFiles: _files, ...rest } = boot;
  const [part, second] = initrd;
  if (part === undefined) return { given: rest, steps: [] };
  if (second === undefined && "path" in part) return { given: { ...rest, initrd: part.path }, steps: [] };
  const parts = initrd.map((each) => ("path" in each ? { from: each.path } : each));
  return {
    given: { ...rest, initrd: hostPathOf(input, joinedInitrd) },
    steps: [{ do: "concat", at: joinedInitrd, parts, mode: 0o444 }],
  };
}

/** Directories and files for the guest's root, into the sandbox's own tree. */
function rootFileSteps(
  input: ModeInput,
  { rootDirectories = [], rootFiles = [] }: GuestBoot,
): readonly Step[] {
  const directories = new Set<string>(rootDirectories.map((at) => at.slice(1)));
  const made = rootDirectories.map((at): Step => ({
    do: "directory",
    at: statePath(`${treePath}${at}`),
    mode: 0o755,
  }));
  const filled = rootFiles.flatMap(({ at, mode, content, secret }): Step[] => {
    const parts = at.split("/").slice(1, -1);
    const above = parts.map((_, index) => parts.slice(0, index + 1).join("/"));
    const missing = above.filter((name) => !directories.has(name));
    for (const name of missing) directories.add(name);
    const file = statePath(`${treePath}${at}`);
    return [
      ...missing.map((name): Step => ({
        do: "directory",
        at: statePath(`${treePath}/${name}`),
        mode: 0o755,
      })),
      typeof content === "string"
        ? { do: "file", at: file, content, mode, ...(secret === true ? { owner: ownerOf(input) } : {}) }
        : { do: "concat", at: file, parts: [{ from: content.path }], mode },
    ];
  });
  return [...made, ...filled];
}

function ownerOf(input: ModeInput): { readonly uid: number; readonly gid: number } {
  const { uid, gid } = credentialsOf(input);
  return { uid, gid };
}

interface Rendered {
  readonly boot: GuestBoot;
  readonly launch: Launch;
  readonly net: NetFacts | undefined;
}

function launchSteps(input: ModeInput, { machine }: UnikernelWorkload, rendered: Rendered): Step[] {
  const { launch } = rendered;
  const { engine } = input;
  const steps = tapSteps(input, rendered, credentialsOf(input));
  for (const { name, path, write } of launch.opens) steps.push({ do: "open", name, path, write });
  steps.push(...helperSteps(input, launch, machine.arch));
  steps.push(...rootSteps(input, launch));
  steps.push({
    do: "spawn",
    program: launch.program,
    argv: launch.argv,
    env: launch.env,
    as: credentialsOf(input),
    fds: fdsOf(launch),
    ...(launch.seccomp === undefined ? {} : { seccomp: compileSeccomp(launch.seccomp, machine.arch) }),
    rlimits: rlimits(launch, input.stdio.stdin === "engine"),
    ...(engine?.oomScoreAdj === undefined ? {} : { oomScoreAdj: engine.oomScoreAdj }),
    maskedPaths: [],
    readonlyPaths: [],
    ...(launch.exitCodes === undefined ? {} : { exitCodes: launch.exitCodes }),
    stdio: input.stdio,
    stop: launch.stop,
    ...(launch.channel === undefined ? {} : { channel: launch.channel }),
  });
  return steps;
}

const helperName = (index: number): string => `helper-${index}`;
const helperSocket = (index: number): StatePath => statePath(`helpers/${index}.sock`);

const fdsOf = ({ opens, taps, helpers }: Launch): FdGrant[] => [
  ...[...opens, ...taps].flatMap(({ name, at }) => (at === undefined ? [] : [{ name, at }])),
  ...helpers.flatMap(({ reached }, index) =>
    "at" in reached ? [{ name: helperName(index), at: reached.at }] : [],
  ),
];

/** The programs beside the monitor, and their sockets where it opens them by path. */
function helperSteps(input: ModeInput, { helpers }: Launch, arch: Arch): Step[] {
  if (helpers.length === 0) return [];
  const steps: Step[] = [{ do: "directory", at: statePath("helpers"), mode: 0o700 }];
  for (const [index, helper] of helpers.entries()) {
    const { program, argv, env, listensAt, reached, binds, proc, openFiles } = helper;
    steps.push({
      do: "helper",
      program,
      argv,
      env,
      as: credentialsOf(input),
      socket: helperSocket(index),
      listensAt,
      ...("at" in reached ? { connects: helperName(index) } : {}),
      rootBytes,
      binds: binds.map(bindOf),
      proc,
      seccomp: compileSeccomp(helper.seccomp, arch),
      rlimits: rlimits({ opens: [], binds, scratchBytes: 0, openFiles }, false),
    });
    if ("path" in reached)
      steps.push({
        do: "bind",
        from: hostPathOf(input, helperSocket(index)),
        at: reached.path,
        readonly: true,
        noexec: true,
        recursive: false,
      });
  }
  return steps;
}

const bindOf = ({
  from,
  at,
  writable,
  executable,
  recursive,
  volumes,
}: BindNeed): Omit<Extract<Step, { do: "bind" }>, "do"> => ({
  from,
  at,
  readonly: writable !== true,
  noexec: executable !== true,
  recursive: recursive === true,
  ...(volumes === undefined ? {} : { volumes }),
});

const isWritten = ({ writable, volumes = [] }: BindNeed): boolean =>
  writable === true || volumes.some(({ readonly }) => !readonly);

/**
 * A tap per network device, with the frames of the namespace's own interface, or behind it; one that is opened by name belongs to the monitor's
 * user.
 */
function tapSteps({ engine }: ModeInput, { boot, launch, net }: Rendered, { uid, gid }: Credentials): Step[] {
  const nat = engine?.nat;
  const [first] = boot.nics;
  const link = net?.interfaces[0]?.name;
  const taps = boot.nics.map((nic, index): Step => {
    const redirect = nat === undefined ? net?.interfaces[index]?.name : undefined;
    const tap = launch.taps.find(({ name }) => name === nic.tap);
    return {
      do: "tap",
      name: nic.tap,
      mtu: nic.mtu,
      ...(redirect === undefined ? {} : { redirect }),
      ...(tap?.vnetHeader === undefined ? {} : { vnetHeader: tap.vnetHeader }),
      ...(tap !== undefined && tap.at === undefined ? { owner: { uid, gid } } : {}),
    };
  });
  return nat === undefined || first === undefined || link === undefined
    ? taps
    : [...taps, natStep(nat, first.tap, link)];
}

/** Everything that the monitor opens by path. Small files lie in the state directory and are bound from there. */
function rootSteps(input: ModeInput, launch: Launch): Step[] {
  const steps: Step[] = [];
  if (launch.scratchBytes > 0)
    steps.push({
      do: "mount",
      type: "tmpfs",
      at: sandboxPath("/tmp"),
      options: ["nosuid", "nodev", "noexec", "mode=1777", `size=${launch.scratchBytes}`],
    });
  for (const bind of launch.binds) steps.push({ do: "bind", ...bindOf(bind) });
  for (const { from, at } of launch.devices) steps.push({ do: "device", from, at });
  if (launch.files.length > 0) steps.push({ do: "directory", at: statePath("files"), mode: 0o755 });
  for (const [index, { at, content }] of launch.files.entries()) {
    const file = statePath(`files/${index}`);
    steps.push({ do: "file", at: file, content, mode: 0o444 });
    steps.push({
      do: "bind",
      from: hostPathOf(input, file),
      at,
      readonly: true,
      noexec: true,
      recursive: false,
    });
  }
  if (launch.proc === true)
    steps.push({ do: "mount", type: "proc", at: sandboxPath("/proc"), options: ["ro"] });
  return steps;
}

/** A user that no other sandbox has: what one monitor may signal or trace, another's is not. */
function credentialsOf({ sandbox }: ModeInput): Credentials {
  const { credentials } = sandbox;
  if (credentials === undefined || credentials.uid === 0 || credentials.gid === 0)
    throw new TripodError("bug", `${sandbox.id}: a monitor needs an unprivileged user and group of its own`);
  return credentials;
}

type Limited = Pick<Launch, "opens" | "binds" | "scratchBytes" | "openFiles" | "memoryFileBytes"> &
  Partial<Pick<Launch, "devices">>;

/** All of them lower what is inherited, so none needs a privilege. */
function rlimits(
  { opens, binds, devices = [], scratchBytes, openFiles = 256, memoryFileBytes = 0 }: Limited,
  /** A stream that an engine hands us may be a file: output to it would be lost at once, or end the monitor. */
  hasForeignStreams: boolean,
): Rlimit[] {
  const writesFiles =
    hasForeignStreams ||
    scratchBytes > 0 ||
    opens.some(({ write }) => write) ||
    [...binds, ...devices].some(isWritten);
  return [
    { type: "core", soft: 0, hard: 0 },
    { type: "nofile", soft: openFiles, hard: openFiles },
    { type: "memlock", soft: 0, hard: 0 },
    { type: "msgqueue", soft: 0, hard: 0 },
    // Where nothing can be written no file grows but those in memory.
    ...(writesFiles ? [] : [{ type: "fsize", soft: memoryFileBytes, hard: memoryFileBytes }]),
  ];
}
