/** What the benchmarks share: a root of their own, the container build as runc's bundle, medians. */

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const tree = join(import.meta.dirname, "..");
export const tripod = join(tree, "tripod");

export interface Bench {
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
  /** Runs the command to its end and returns stdout; throws when it fails or takes longer than five minutes. */
  tripod(...argv: readonly string[]): Promise<string>;
}

/** Runs a benchmark in a root of its own beneath `base`, in which nothing is left afterwards. */
export async function withBench(main: (bench: Bench) => Promise<void>, base = tmpdir()): Promise<void> {
  const root = mkdtempSync(join(base, "tripod-bench-"));
  const env = { PATH: process.env["PATH"] ?? "", TRIPOD_ROOT: root };
  const bench: Bench = { root, env, tripod: (...argv) => outputOf(tripod, argv, env) };
  try {
    await main(bench);
  } finally {
    const ids = (await bench.tripod("ps", "-a", "-q")).trim().split("\n").filter(Boolean);
    if (ids.length > 0) await bench.tripod("rm", "-f", ...ids);
    removeBridge(root);
    rmSync(root, { recursive: true, force: true });
  }
}

export function outputOf(
  file: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const child = spawn(file, argv, { stdio: ["ignore", "pipe", "pipe"], env, timeout: 300_000 });
  let [output, story] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (story += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${file} ${argv.join(" ")} ended with ${code}: ${story}`));
    });
  });
}

function removeBridge(root: string): void {
  try {
    const list = readFileSync(join(root, "lib/networks/bridge.conflist"), "utf8");
    const bridge = /"bridge": "([^"]+)"/.exec(list)?.[1];
    if (bridge !== undefined) execFileSync("ip", ["link", "delete", bridge], { stdio: "ignore" });
  } catch {
    // No network was used.
  }
}

/** A bundle of the container build of httpreply for runc itself, without a network. */
export function runcBundle(root: string, ...words: readonly string[]): string {
  const bundle = join(root, "bundle");
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  cpSync(join(tree, "build/httpreply/httpreply"), join(bundle, "rootfs/httpreply"));
  execFileSync("runc", ["spec", "--bundle", bundle]);
  const path = join(bundle, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8")) as {
    process: { terminal: boolean; args: string[]; rlimits?: unknown };
  };
  spec.process.terminal = false;
  spec.process.args = ["/httpreply", ...words];
  // A limit above the machine's own needs a capability that not every root has.
  delete spec.process.rlimits;
  writeFileSync(path, JSON.stringify(spec));
  return bundle;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** A line of a benchmark's answer. */
export function row(name: string, value: string, note = ""): void {
  console.log(`${name.padEnd(48)} ${value.padStart(12)}   ${note}`.trimEnd());
}

export const milliseconds = (value: number): string => `${value.toFixed(1)} ms`;

/** A bundle of the spt build of httpreply. */
export function unikernelBundle(root: string, name: string, words: readonly string[]): string {
  const bundle = join(root, name);
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  copyFileSync(join(tree, "build/httpreply/httpreply.spt"), join(bundle, "rootfs/kernel"));
  const config = {
    ociVersion: "1.0.2",
    process: { terminal: false, user: { uid: 0, gid: 0 }, args: words, env: [], cwd: "/" },
    root: { path: "rootfs" },
    annotations: {
      "dev.tripod.mode": "unikernel",
      "dev.tripod.guest": "solo5",
      "dev.tripod.monitors": "spt",
      "dev.tripod.kernel": "/kernel",
      "dev.tripod.boot-line": "ip={ipv4} gateway={gateway4} monitor={monitor} {args}",
      "dev.tripod.net-devices": "service0",
    },
    linux: { namespaces: ["network", "mount", "pid", "ipc", "uts"].map((type) => ({ type })) },
  };
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  return bundle;
}

/** tripodd for the bench's root, once it answers. */
export async function startDaemon({ root, env }: Bench): Promise<{ readonly stop: () => Promise<void> }> {
  const daemon = spawn(join(tree, "bin/tripodd"), ["--root", root], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  await new Promise<void>((resolve, reject) => {
    let story = "";
    daemon.stderr.on("data", (chunk: Buffer) => {
      story += chunk.toString();
      if (story.includes("answers on")) resolve();
    });
    daemon.once("exit", () => reject(new Error(story)));
  });
  return {
    stop: async () => {
      const ended = new Promise((resolve) => daemon.once("exit", resolve));
      daemon.kill("SIGTERM");
      await ended;
    },
  };
}
