/**
 * Drives the real `tripod-runtime` as an engine would, on bundles of the test's own. A sandbox inherits the streams of the `create` that made it, so these go to
 * files: a pipe would only end with the guest.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";
import { type Outcome, eventually, outcomeOf, readdirSafe, runToEnd, tree } from "./tripod.ts";

export const runtime = join(tree, "bin/tripod-runtime");

/** `config.json` as tests change it. */
export type Config = Record<string, unknown>;

/** What `state` prints. */
export interface State {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: string;
  readonly pid: number;
  readonly bundle: string;
  readonly rootfs: string;
  readonly created: string;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface RuntimeLab {
  /** Holds everything of the test's. */
  readonly dir: string;
  /** `--root`. */
  readonly root: string;
  /** Parent of its cgroups, within each hierarchy. */
  readonly cgroups: string;
  /** Arguments before a verb. */
  readonly globals: readonly string[];
  /** Runs a verb to its end; streams that a sandbox inherits go to `<dir>/<name>.out`. */
  run(
    argv: readonly string[],
    options?: { readonly name?: string; readonly timeoutMs?: number },
  ): Promise<Outcome>;
  /** As `run`; fails the test when the exit status is not 0. */
  ok(argv: readonly string[]): Promise<string>;
  state(id: string): Promise<State>;
  /** What `id`'s streams have been told so far. */
  output(id: string): string;
  /** A unikernel's bundle; `change` may change its configuration. Its path. */
  unikernel(change?: (config: Config) => void): string;
  /** A container's bundle, which runs `sh -c SCRIPT`. */
  container(script: string, change?: (config: Config) => void): string;
  create(id: string, bundle: string, ...flags: string[]): Promise<void>;
}

export const annotations = {
  "dev.tripod.mode": "unikernel",
  "dev.tripod.guest": "solo5",
  "dev.tripod.monitors": "spt",
  "dev.tripod.kernel": "/kernel",
  "dev.tripod.boot-line": "ip=10.0.0.2/24 monitor={monitor} {args}",
  "dev.tripod.net-devices": "service0",
} as const;

export function makeRuntimeLab(t: TestContext): RuntimeLab {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "tripod-runtime-")));
  const root = join(dir, "root");
  const cgroups = `/${basename(dir)}`;
  const globals = ["--tripod-root", join(dir, "tripod"), "--root", root];
  let bundles = 0;
  const newBundle = (config: Config): string => {
    const bundle = join(dir, `bundle-${bundles++}`);
    mkdirSync(join(bundle, "rootfs"), { recursive: true });
    writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
    return bundle;
  };
  const lab: RuntimeLab = {
    dir,
    root,
    cgroups,
    globals,
    async run(argv, { name, timeoutMs = 30_000 } = {}) {
      const makes = argv.includes("create") || argv.includes("run");
      if (!makes) return runToEnd(runtime, [...globals, ...argv], { timeoutMs });
      const out = join(dir, `${name ?? String(argv.at(-1))}.out`);
      const fd = openSync(out, "a");
      const before = readFileSync(out, "utf8").length;
      const child = spawn(runtime, [...globals, ...argv], { stdio: ["ignore", fd, fd] });
      closeSync(fd);
      const outcome = await outcomeOf(child, argv.join(" "), timeoutMs);
      return { ...outcome, stderr: readFileSync(out, "utf8").slice(before) };
    },
    async ok(argv) {
      const outcome = await lab.run(argv);
      assert.equal(outcome.code, 0, `${argv.join(" ")}: ${outcome.stderr}`);
      return outcome.stdout;
    },
    state: async (id) => JSON.parse(await lab.ok(["state", id])) as State,
    output: (id) => readFileSync(join(dir, `${id}.out`), "utf8"),
    unikernel(change = () => {}) {
      const config: Config = {
        ociVersion: "1.0.2",
        process: { terminal: false, user: { uid: 0, gid: 0 }, args: ["port=80"], env: ["PATH=/"], cwd: "/" },
        root: { path: "rootfs" },
        hostname: "guest",
        annotations: { ...annotations },
        linux: {
          namespaces: ["network", "mount", "pid", "ipc", "uts"].map((type) => ({ type })),
          resources: { memory: { limit: 16 << 20 } },
        },
      };
      change(config);
      const bundle = newBundle(config);
      copyFileSync(join(tree, "build/httpreply/httpreply.spt"), join(bundle, "rootfs/kernel"));
      return bundle;
    },
    container(script, change = () => {}) {
      const config: Config = {
        ociVersion: "1.0.2",
        process: {
          terminal: false,
          user: { uid: 0, gid: 0 },
          args: ["/bin/busybox", "sh", "-c", script],
          env: ["PATH=/bin"],
          cwd: "/",
        },
        root: { path: "rootfs", readonly: true },
        mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
        linux: { namespaces: ["network", "mount", "pid", "ipc", "uts"].map((type) => ({ type })) },
      };
      change(config);
      const bundle = newBundle(config);
      for (const name of ["bin", "proc"]) mkdirSync(join(bundle, "rootfs", name));
      copyFileSync("/bin/busybox", join(bundle, "rootfs/bin/busybox"));
      return bundle;
    },
    async create(id, bundle, ...flags) {
      await lab.ok(["create", "--bundle", bundle, ...flags, id]);
    },
  };
  t.after(async () => {
    for (const id of readdirSafe(root).filter((name) => !name.startsWith(".")))
      await lab.run(["delete", "--force", id]).catch(() => undefined);
    for (const path of cgroupsBeneath(cgroups).toReversed()) rmdirSafe(path);
    rmSync(dir, { recursive: true, force: true });
  });
  return lab;
}

/** Sets one cgroup path for a sandbox, beneath the lab's. */
export const inCgroup =
  (lab: RuntimeLab, id: string) =>
  (config: Config): void => {
    config["linux"] = { ...(config["linux"] as object), cgroupsPath: `${lab.cgroups}/${id}` };
  };

function rmdirSafe(path: string): void {
  try {
    process.getBuiltinModule("node:fs").rmdirSync(path);
  } catch {
    // Another look finds it.
  }
}

const hierarchies = (): string[] => [
  "/sys/fs/cgroup",
  ...readdirSafe("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name)),
];

const directoriesBeneath = (dir: string): string[] =>
  existsSync(dir)
    ? readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .flatMap(({ name }) => [join(dir, name), ...directoriesBeneath(join(dir, name))])
    : [];

/** Directories of a cgroup and of all beneath it, of every hierarchy, parents first. */
export const cgroupsBeneath = (path: string): string[] =>
  hierarchies()
    .map((base) => join(base, path))
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => [dir, ...directoriesBeneath(dir)]);

/** Processes that name the lab, or are in a cgroup of its. */
export const processesOf = (lab: RuntimeLab): string[] =>
  readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        if (stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")) return [];
        const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const cgroup = readFileSync(`/proc/${pid}/cgroup`, "utf8");
        return argv.includes(lab.dir) || cgroup.includes(`${lab.cgroups}/`) ? [`${pid} ${argv}`] : [];
      } catch {
        return [];
      }
    });

/** All of a lab's that stands on the machine: processes, mounts, cgroups of its sandboxes, files of their state. */
export function standing(lab: RuntimeLab): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(lab.dir));
  const files = readdirSafe(lab.root).map((name) => join(lab.root, name));
  const own = cgroupsBeneath(lab.cgroups).filter((path) => !path.endsWith(lab.cgroups));
  return [...processesOf(lab), ...mounts, ...own, ...cgroupsBeneath("/tripod").filter(isOf(lab)), ...files];
}

/** Ids of a test are told apart by the lab's name in them. */
const isOf =
  (lab: RuntimeLab) =>
  (path: string): boolean =>
    path.includes(basename(lab.dir));

/** Fails unless all is gone within the deadline. */
export async function assertNothingStands(lab: RuntimeLab, when: string, deadlineMs = 5000): Promise<void> {
  await eventually(
    "nothing is left",
    () => (standing(lab).length === 0 ? true : undefined),
    deadlineMs,
  ).catch(() => assert.deepEqual(standing(lab), [], `left ${when}`));
}
