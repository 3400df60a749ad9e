/**
 * The test vectors that bind the two languages: `native/vectors/*.json` are written from the typed literals below (by
 * `script/generate.mjs`), checked by `vectors.test.ts` and parsed by the warden's tests.
 */

import { cgroupPath, hostPath, sandboxPath, statePath } from "./paths.ts";
import type { Plan, Stdio, StepKind } from "./plan.ts";
import type { AnswerLine, EventLine, NetFacts, Prepared, RequestLine, StateFile } from "./protocol.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

const quiet: Stdio = { terminal: false, stdin: "null", tee: false, log: { maxBytes: 1 << 20, files: 3 } };
const typed: Stdio = {
  terminal: true,
  rows: 65_535,
  cols: 1,
  stdin: "inherit",
  tee: true,
  log: { maxBytes: 0, files: 1 },
};

/** Every step kind at least once; optional fields both there and absent; the edges of numbers and strings. */
export const plans = [
  {
    version: 1,
    id: "a",
    steps: [],
  },
  {
    version: 1,
    id: "3f2a.b_c-9",
    steps: [
      { do: "directory", at: statePath("root"), mode: 0o700 },
      { do: "directory", at: statePath("a/b c/ü…"), mode: 0 },
      { do: "file", at: statePath("config.json"), content: base64('{"a":1}\n'), mode: 0o644 },
      { do: "file", at: statePath("empty"), content: "", mode: 0o4755, owner: { uid: 7, gid: 8 } },
      { do: "concat", at: statePath("initrd"), parts: [], mode: 0o444 },
      {
        do: "concat",
        at: statePath("initrd"),
        parts: [{ from: hostPath("/layers/a/initrd") }, { content: base64("UES\nUEE\n") }, { content: "" }],
        mode: 0o400,
      },
      { do: "cgroup", path: cgroupPath("/tripod/default/3f2a.b_c-9"), limits: {}, warden: false },
      {
        do: "cgroup",
        path: cgroupPath("/tripod/default/3f2a.b_c-9"),
        warden: true,
        limits: {
          memoryBytes: Number.MAX_SAFE_INTEGER,
          cpuQuotaUs: 150_000,
          cpuPeriodUs: 100_000,
          cpuShares: 262_144,
          cpusetCpus: "0-1,3",
          pids: 1,
        },
      },
      { do: "namespaces", make: ["network"], join: [] },
      {
        do: "namespaces",
        make: ["user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time"],
        join: [{ kind: "network", path: hostPath("/run/netns/x") }],
        uidMap: [{ inside: 0, outside: 100_000, count: 65_536 }],
        gidMap: [{ inside: 0, outside: 4_294_967_294, count: 1 }],
        hostname: "a-host",
      },
      {
        do: "network",
        name: "default",
        interface: "eth0",
        pluginDirs: [hostPath("/usr/lib/cni"), hostPath("/opt/cni/bin")],
        ports: [
          { hostPort: 8080, guestPort: 80, protocol: "tcp" },
          { hostIp: "::1", hostPort: 65_535, guestPort: 1, protocol: "udp" },
        ],
      },
      {
        do: "overlay",
        lowers: [hostPath("/var/lib/tripod/layers/b"), hostPath("/var/lib/tripod/layers/a")],
        at: statePath("rootfs"),
      },
      { do: "copy", lowers: [hostPath("/var/lib/tripod/layers/a")], at: statePath("rootfs") },
      { do: "unmount", at: hostPath("/run/bundle/rootfs") },
      {
        do: "rootfs",
        at: hostPath("/run/bundle/rootfs"),
        mounts: [
          { type: "overlay", source: "overlay", options: ["index=off", "lowerdir=/b:/a", "ro"] },
          { type: "bind", source: "/srv/tree", options: ["rbind", "ro"] },
        ],
      },
      { do: "root", sizeBytes: 65_536 },
      {
        do: "bind",
        from: hostPath("/dev/null"),
        at: sandboxPath("/dev/null"),
        readonly: true,
        noexec: false,
        recursive: false,
      },
      {
        do: "bind",
        from: hostPath("/"),
        at: sandboxPath("/host"),
        readonly: false,
        noexec: true,
        recursive: true,
      },
      {
        do: "bind",
        from: hostPath("/srv/root"),
        at: sandboxPath("/share-0"),
        readonly: true,
        noexec: true,
        recursive: true,
        volumes: [
          { from: hostPath("/srv/a"), at: sandboxPath("/data"), readonly: false, recursive: true },
          { from: hostPath("/srv/b"), at: sandboxPath("/etc/b"), readonly: true, recursive: false },
        ],
      },
      { do: "mount", type: "tmpfs", at: sandboxPath("/tmp"), options: ["size=1m", "mode=1777"] },
      { do: "mount", type: "proc", at: sandboxPath("/proc"), options: [] },
      { do: "mount", type: "devpts", at: sandboxPath("/dev/pts"), options: ["newinstance"] },
      { do: "mount", type: "sysfs", at: sandboxPath("/sys"), options: ["ro"] },
      { do: "device", from: hostPath("/dev/kvm"), at: sandboxPath("/dev/kvm") },
      { do: "open", name: "kernel", path: hostPath("/k"), write: false },
      { do: "open", name: "disk", path: hostPath("/d"), write: true, nofollow: true },
      { do: "tap", name: "tap0", mtu: 1500 },
      { do: "tap", name: "tap1", mtu: 65_535, redirect: "eth0" },
      { do: "tap", name: "tap2", mtu: 68, vnetHeader: true, owner: { uid: 1, gid: 4_294_967_294 } },
      {
        do: "nat",
        tap: "tap0",
        link: "eth0",
        host: "198.18.0.1",
        guest: "198.18.0.2",
        prefix: 30,
        ports: [
          { port: 80, protocol: "tcp" },
          { port: 53, protocol: "udp" },
        ],
      },
      {
        do: "hook",
        when: "now",
        path: hostPath("/bin/true"),
        argv: [],
        env: [],
        timeoutMs: 1,
        where: "runtime",
        state: base64("{}"),
      },
      {
        do: "hook",
        when: "poststop",
        path: hostPath("/bin/true"),
        argv: ["true", "", "ä\n"],
        env: ["A=b", "C="],
        timeoutMs: 30_000,
        where: "container",
        state: "",
      },
      {
        do: "oci",
        runtime: "runc",
        path: hostPath("/usr/sbin/runc"),
        bundle: statePath("bundle"),
        stdio: quiet,
        stop: { signal: 15, deadlineMs: 10_000 },
      },
      {
        do: "oci",
        runtime: "crun",
        path: hostPath("/usr/bin/crun"),
        bundle: statePath("bundle"),
        stdio: typed,
        stop: { signal: 64, deadlineMs: 0 },
      },
      {
        do: "helper",
        program: hostPath("/usr/libexec/virtiofsd"),
        argv: ["virtiofsd", "--fd=3"],
        env: [],
        as: { uid: 700_001, gid: 700_001, groups: [] },
        socket: statePath("helpers/0.sock"),
        listensAt: 3,
        connects: "helper-0",
        rootBytes: 65_536,
        binds: [
          {
            from: hostPath("/srv"),
            at: sandboxPath("/share"),
            readonly: true,
            noexec: true,
            recursive: true,
          },
        ],
        proc: true,
        seccomp: "BgAAAAAA/38=",
        rlimits: [{ type: "core", soft: 0, hard: 0 }],
      },
      {
        do: "helper",
        program: hostPath("/bin/h"),
        argv: [],
        env: ["A=b"],
        as: { uid: 1, gid: 1, groups: [] },
        socket: statePath("h"),
        listensAt: 255,
        rootBytes: 0,
        binds: [],
        proc: false,
        rlimits: [],
      },
      {
        do: "spawn",
        program: hostPath("/usr/bin/monitor"),
        argv: ["monitor"],
        env: [],
        as: { uid: 65_534, gid: 65_534, groups: [] },
        fds: [],
        rlimits: [],
        maskedPaths: [],
        readonlyPaths: [],
        stdio: quiet,
        stop: { signal: 15, deadlineMs: 10_000 },
      },
      {
        do: "spawn",
        program: hostPath("/usr/bin/monitor"),
        argv: ["monitor", "--kernel=@3"],
        env: ["PATH=/"],
        as: { uid: 0, gid: 4_294_967_294, groups: [36, 108] },
        fds: [
          { name: "kernel", at: 3 },
          { name: "tap0", at: 1023 },
        ],
        seccomp: "BgAAAAAA/38=",
        rlimits: [{ type: "nofile", soft: 1024, hard: Number.MAX_SAFE_INTEGER }],
        oomScoreAdj: -999,
        maskedPaths: [sandboxPath("/proc/kcore")],
        readonlyPaths: [sandboxPath("/proc/sys")],
        exitCodes: [
          [1, 0],
          [255, 127],
        ],
        stdio: typed,
        stop: { socket: statePath("qmp.sock"), say: base64('{"execute":"quit"}\n'), deadlineMs: 5000 },
      },
      {
        do: "spawn",
        program: hostPath("/usr/bin/qemu-system-x86_64"),
        argv: [],
        env: [],
        as: { uid: 1, gid: 1, groups: [] },
        fds: [],
        rlimits: [],
        maskedPaths: [],
        readonlyPaths: [],
        stdio: {
          terminal: true,
          stdin: "engine",
          tee: false,
          pipes: { stdin: hostPath("/run/fifo/in"), stdout: hostPath("/run/fifo/out") },
        },
        stop: { say: base64("quit"), deadlineMs: 1 },
        channel: { at: 9, say: base64("hello"), expect: base64("running"), deadlineMs: 10_000 },
      },
    ],
  },
] as const satisfies readonly Plan[];

/** The plan kinds, so that a kind added to the type and not here fails the type check. */
export const stepKinds = {
  directory: true,
  file: true,
  concat: true,
  cgroup: true,
  namespaces: true,
  network: true,
  overlay: true,
  copy: true,
  unmount: true,
  rootfs: true,
  root: true,
  bind: true,
  mount: true,
  device: true,
  open: true,
  tap: true,
  hook: true,
  nat: true,
  oci: true,
  helper: true,
  spawn: true,
} as const satisfies Record<StepKind, true>;

const net = {
  interfaces: [
    {
      name: "eth0",
      mac: "02:fc:00:00:00:01",
      mtu: 1500,
      up: true,
      addresses: [
        { family: "ipv4", address: "10.0.0.2", prefix: 24 },
        { family: "ipv6", address: "fd00::2", prefix: 64 },
      ],
    },
  ],
  routes: [
    { family: "ipv4", destination: "0.0.0.0/0", gateway: "10.0.0.1", interface: "eth0" },
    { family: "ipv6", destination: "fd00::/64", interface: "eth0" },
  ],
  dns: { servers: ["10.0.0.1"], search: ["example.org"] },
} as const satisfies NetFacts;

const exit = {
  exitCode: 137,
  signal: 9,
  oomKilled: true,
  finishedAt: "2026-01-02T03:04:05.000000006Z",
} as const;

const prepared = { net, times: [{ step: "cgroup", us: 0 }] } as const satisfies Prepared;

const created = {
  version: 1,
  id: "a",
  status: "created",
  pid: 12,
  startTicks: 345,
  warden: { pid: 11, startTicks: 344 },
  createdAt: "2026-01-02T03:04:05.000000006Z",
} as const satisfies StateFile;

export const protocol = {
  requests: [
    { id: 1, op: "prepare", plan: plans[0], onExit: "keep" },
    { id: 2, op: "prepare", plan: plans[0], onExit: "remove" },
    { id: 3, op: "launch", plan: plans[0] },
    { id: 3, op: "launch", plan: plans[0], atStart: true },
    { id: 3, op: "look" },
    { id: 3, op: "undo" },
    { id: 4, op: "start" },
    { id: 14, op: "release" },
    { id: 5, op: "signal", signal: 64 },
    { id: 5, op: "signal", signal: 9, exec: "one" },
    { id: 5, op: "exec", name: "one", process: base64('{"args":["a"]}'), stdio: quiet },
    { id: 5, op: "forget", name: "one" },
    { id: 6, op: "stop" },
    { id: 7, op: "stop", timeoutMs: 0 },
    { id: 8, op: "wait" },
    { id: 9, op: "state" },
    { id: 10, op: "resize", rows: 65_535, cols: 0 },
    { id: 10, op: "resize", rows: 1, cols: 2, exec: "one" },
    { id: 11, op: "pause" },
    { id: 12, op: "resume" },
    { id: 13, op: "delete", force: true },
    { id: Number.MAX_SAFE_INTEGER, op: "delete", force: false },
  ] as const satisfies readonly RequestLine[],
  answers: [
    { id: 1, ok: prepared },
    { id: 1, ok: { times: [] } satisfies Prepared },
    { id: 3, ok: { pid: 12, times: [{ step: "spawn", us: 1234 }] } },
    { id: 4, ok: {} },
    { id: 8, ok: exit },
    { id: 8, ok: { exitCode: 0, oomKilled: false, finishedAt: exit.finishedAt } },
    { id: 9, ok: created },
    { id: 9, ok: { ...created, status: "stopped", startedAt: created.createdAt, exit } satisfies StateFile },
    {
      id: 9,
      ok: {
        ...created,
        status: "running",
        execs: [
          { name: "one", pid: 13 },
          { name: "two", pid: 14, exit },
        ],
      } satisfies StateFile,
    },
    { id: 10, error: { code: "not-allowed", message: "the sandbox is created" } },
    {
      id: 11,
      error: { code: "step-failed", message: "cannot open /k", step: "open", index: 0, errno: "ENOENT" },
    },
  ] as const satisfies readonly AnswerLine[],
  events: [
    { event: "exit", ...exit },
    { event: "exit", exec: "one", ...exit },
  ] as const satisfies readonly EventLine[],
};

/** The files as they are committed: name and text. */
export const vectorFiles = {
  "plans.json": `${JSON.stringify(plans, undefined, 1)}\n`,
  "protocol.json": `${JSON.stringify(protocol, undefined, 1)}\n`,
} as const;

/** Where they are committed. */
export const vectorDirectory = new URL("../../native/vectors/", import.meta.url);
