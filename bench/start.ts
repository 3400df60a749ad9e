/**
 * Start-up, interleaved in one run: `node bench/start.ts [rounds]`. Each round starts every variant once, so that a noisy machine hits all alike. Medians; the ratios
 * matter. `bare tender` is our tender without Tripod around it; `runc run` is the container build of the same program.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const tree = join(import.meta.dirname, "..");
const rounds = Number(process.argv[2] ?? 20);
const root = mkdtempSync(join(tmpdir(), "tripod-bench-"));
const env = { PATH: process.env["PATH"] ?? "", TRIPOD_ROOT: root };
const tripod = join(tree, "tripod");

/** Milliseconds from spawn to the first byte on stdout; the process is then ended. */
function firstOutput(file: string, argv: readonly string[]): Promise<number> {
  const begun = performance.now();
  const child = spawn(file, argv, { stdio: ["ignore", "pipe", "ignore"], env });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${file} ${argv.join(" ")}: no output in 20 s`)), 20_000);
    let first: number | undefined;
    child.stdout.on("data", () => (first ??= performance.now() - begun));
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      if (first === undefined)
        reject(new Error(`${file} ${argv.join(" ")} ended with ${code} and no output`));
      else resolve(first);
    });
  });
}

/** Milliseconds from spawn to the first HTTP reply; the sandbox is then removed. */
async function firstReply(argv: readonly string[]): Promise<number> {
  const begun = performance.now();
  const child: ChildProcess = spawn(tripod, ["run", ...argv, "httpreply"], {
    stdio: ["ignore", "ignore", "pipe"],
    env,
  });
  let story = "";
  child.stderr?.on("data", (chunk: Buffer) => (story += chunk.toString()));
  const until = begun + 20_000;
  let taken: number | undefined;
  while (taken === undefined && performance.now() < until) {
    const address = /http:\/\/([\d.]+)/.exec(story)?.[1];
    const answers =
      address !== undefined &&
      (await fetch(`http://${address}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
        () => true,
        () => false,
      ));
    if (answers) taken = performance.now() - begun;
    else await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGINT");
  await ended;
  if (taken === undefined) throw new Error(`no reply: ${story}`);
  return taken;
}

function runcBundle(): string {
  const bundle = join(root, "bundle");
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  cpSync(join(tree, "build/httpreply/httpreply"), join(bundle, "rootfs/httpreply"));
  execFileSync("runc", ["spec", "--bundle", bundle]);
  const spec = JSON.parse(execFileSync("cat", [join(bundle, "config.json")], { encoding: "utf8" })) as {
    process: { terminal: boolean; args: string[]; rlimits?: unknown };
  };
  spec.process.terminal = false;
  spec.process.args = ["/httpreply", "exit=0"];
  delete spec.process.rlimits;
  writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
  return bundle;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function main(): Promise<void> {
  const bundle = runcBundle();
  execFileSync("ip", ["tuntap", "add", "tpbench0", "mode", "tap"]);
  execFileSync("ip", ["link", "set", "tpbench0", "up"]);
  const quiet = ["--rm", "--network", "none"];
  let run = 0;
  const variants: Record<string, () => Promise<number>> = {
    "first output: bare tender (spt)": () =>
      firstOutput(join(tree, "bin/tripod-tender"), [
        "--mem=16",
        "--net:service0=tpbench0",
        join(tree, "build/httpreply/httpreply.spt"),
        "exit=0",
      ]),
    "first output: tripod run, spt": () =>
      firstOutput(tripod, ["run", ...quiet, "--monitor", "spt", "httpreply", "exit=0"]),
    "first output: tripod run, container": () =>
      firstOutput(tripod, ["run", ...quiet, "--mode", "container", "httpreply", "exit=0"]),
    "first output: runc run": () =>
      firstOutput("runc", ["run", "--bundle", bundle, `tpbench-${process.pid}-${run++}`]),
    "node alone (tripod version)": () => firstOutput(tripod, ["version"]),
    "first HTTP reply: tripod run, spt": () => firstReply(["--monitor", "spt"]),
    "first HTTP reply: tripod run, container": () => firstReply(["--mode", "container"]),
  };
  const taken = new Map<string, number[]>(Object.keys(variants).map((name) => [name, []]));
  for (let round = -2; round < rounds; round++)
    for (const [name, measure] of Object.entries(variants)) {
      const ms = await measure();
      if (round >= 0) taken.get(name)?.push(ms);
    }
  for (const [name, values] of taken)
    console.log(
      `${name.padEnd(44)} median ${median(values).toFixed(1).padStart(7)} ms   min ${Math.min(...values)
        .toFixed(1)
        .padStart(7)} ms   n ${values.length}`,
    );
}

try {
  await main();
} finally {
  execFileSync("ip", ["link", "delete", "tpbench0"]);
  rmSync(root, { recursive: true, force: true });
}
