/**
 * Engines of the machine, each in a place of its own: directories, sockets, cgroups and a network namespace, so that its bridges and rules never touch the
 * machine's. Ended by process id; what an engine leaves behind is a finding.
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import type { TestContext } from "node:test";
import { httpreply, httpreplySpt, uruncJson } from "./runtime.ts";
import { type Outcome, eventually, readdirSafe, runToEnd } from "./tripod.ts";

export interface Place {
  readonly dir: string;
  /** Also the name of its network namespace and of the cgroup that everything is put below. */
  readonly name: string;
  /** A program in the network namespace, to its end. */
  run(file: string, argv: readonly string[], options?: PlaceOptions): Promise<Outcome>;
  /** A daemon in the network namespace. */
  start(file: string, argv: readonly string[], options?: PlaceOptions): Daemon;
  /** A GET from within, until it is answered. */
  get(url: string): Promise<string>;
  /** Root file systems as archives: `box` has busybox and our example, `guest` our example as a unikernel. */
  readonly archives: { readonly box: string; readonly guest: string };
}

export interface PlaceOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly timeoutMs?: number;
}

export interface Daemon {
  readonly pid: number;
  readonly log: string;
  /** Asks it to end, and kills it after ten seconds. */
  stop(): Promise<void>;
}

const environment = (extra: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  PATH: "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
  HOME: "/root",
  ...extra,
});

const isThere = (file: string): boolean => spawnSync("which", [file], { env: environment() }).status === 0;

/** Whether the programs are installed, by `script/setup engines`. */
export const hasPrograms = (...files: readonly string[]): boolean => files.every(isThere);

function must(file: string, argv: readonly string[]): void {
  const { status, stderr } = spawnSync(file, argv, { encoding: "utf8", timeout: 20_000 });
  assert.equal(status, 0, `${file} ${argv.join(" ")}: ${stderr}`);
}

/** Everything is taken away at the end of the test, and what stood then is told, but for those mounts that the engine keeps by design. */
export function makePlace(t: TestContext, keptMounts: readonly string[] = []): Place {
  const dir = mkdtempSync(join(tmpdir(), "tripod-engine-"));
  const name = basename(dir).toLowerCase();
  const netns = `/run/netns/${name}`;
  must("ip", ["netns", "add", name]);
  must("ip", ["-n", name, "link", "set", "lo", "up"]);
  const daemons: Daemon[] = [];
  const inside = (file: string, argv: readonly string[]): readonly string[] => [
    `--net=${netns}`,
    "--",
    file,
    ...argv,
  ];
  const place: Place = {
    dir,
    name,
    run: (file, argv, { env, ...options } = {}) =>
      runToEnd("nsenter", inside(file, argv), { ...options, env: environment(env) }),
    start(file, argv, options = {}) {
      const log = join(dir, `${basename(file)}-${daemons.length}.log`);
      const daemon = startDaemon(inside(file, argv), log, environment(options.env));
      daemons.push(daemon);
      return daemon;
    },
    get: (url) =>
      eventually(`an answer of ${url}`, async () => {
        const { code, stdout } = await place.run("curl", ["-s", "-m", "2", url]);
        return code === 0 ? stdout : undefined;
      }),
    archives: { box: boxArchive(dir), guest: guestArchive(dir) },
  };
  t.after(async () => {
    for (const daemon of daemons) await daemon.stop();
    const standing = (): string[] => [
      ...processesOf(dir).map(({ pid, argv }) => `process ${pid} ${argv}`),
      ...mountsIn(dir)
        .filter((mount) => !keptMounts.includes(relative(dir, mount)))
        .map((mount) => `mount ${mount}`),
      ...cgroupsOf(name).flatMap((path) =>
        readdirSafe(path)
          .filter((entry) => readdirSafe(join(path, entry)).length > 0 && entry !== "conmon")
          .map((entry) => `cgroup ${path}/${entry}`),
      ),
    ];
    // podman cleans up after each end in the background.
    await eventually("the end", () => (standing().length === 0 ? true : undefined), 5000).catch(() => {});
    const stood = standing();
    for (const { pid } of processesOf(dir)) kill(pid, "SIGKILL");
    for (const mount of mountsIn(dir)) spawnSync("umount", ["-l", mount]);
    for (const path of cgroupsOf(name)) for (const pid of pidsIn(path)) kill(pid, "SIGKILL");
    await eventually("empty cgroups", () => {
      for (const path of cgroupsOf(name)) removeCgroup(path);
      return cgroupsOf(name).length === 0 ? true : undefined;
    }).catch(() => {});
    spawnSync("ip", ["netns", "del", name]);
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
    assert.deepEqual(stood, [], "left behind");
  });
  return place;
}

function startDaemon(argv: readonly string[], log: string, env: Record<string, string>): Daemon {
  const fd = openSync(log, "a");
  const child = spawn("nsenter", argv, { stdio: ["ignore", fd, fd], detached: true, env });
  closeSync(fd);
  const pid = child.pid ?? 0;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.once("error", () => {});
  return {
    pid,
    log,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(late);
    },
  };
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

/** Those whose command line names the directory. */
export function processesOf(dir: string): { readonly pid: number; readonly argv: string }[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      try {
        const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8").replaceAll("\0", " ");
        return argv.includes(dir) ? [{ pid: Number(entry), argv }] : [];
      } catch {
        return [];
      }
    });
}

/** The deepest first. */
const mountsIn = (dir: string): string[] =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${dir}/`))
    .toReversed();

const cgroupsOf = (name: string): string[] =>
  ["", ...readdirSafe("/sys/fs/cgroup")]
    .map((hierarchy) => join("/sys/fs/cgroup", hierarchy, name))
    .filter((path) => readdirSafe(path).length > 0);

const pidsIn = (path: string): number[] => [
  ...readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number),
  ...readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => pidsIn(join(path, entry.name))),
];

function removeCgroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  try {
    rmdirSync(path);
  } catch {
    // Busy: it was told as left behind.
  }
}

const applets = ["sh", "cat", "echo", "sleep", "true", "false", "tty", "id", "wget"];

export function boxArchive(dir: string): string {
  const root = join(dir, "image-box");
  for (const name of ["bin", "proc", "dev", "sys", "etc", "tmp"])
    mkdirSync(join(root, name), { recursive: true });
  cpSync("/bin/busybox", join(root, "bin/busybox"));
  for (const applet of applets) symlinkSync("busybox", join(root, "bin", applet));
  cpSync(httpreply, join(root, "httpreply"));
  return archive(dir, root, "box");
}

export function guestArchive(dir: string): string {
  const root = join(dir, "image-guest");
  mkdirSync(root);
  cpSync(httpreplySpt, join(root, "kernel"));
  writeFileSync(join(root, "urunc.json"), JSON.stringify(uruncJson));
  return archive(dir, root, "guest");
}

function archive(dir: string, root: string, name: string): string {
  const file = join(dir, `${name}.tar`);
  must("tar", ["-C", root, "-cf", file, "."]);
  return file;
}
