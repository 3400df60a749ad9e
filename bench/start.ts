/**
 * Start-up, interleaved in one run: `node bench/start.ts [rounds]` (default 20). Each round starts every variant once, so that a noisy machine hits all alike.
 * Medians; the ratios matter. `bare tender` is our tender without Tripod around it; `runc run` is the container build of the same program. The last lines are what
 * docs/SPECIFICATION.md promises.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { type Bench, median, milliseconds, row, runcBundle, tree, tripod, withBench } from "./support.ts";

const rounds = Number(process.argv[2] ?? 20);
const tap = `tpb${process.pid}`;

/** Of `tripod run --timings`: what comes after the decision, when the plan is carried out. */
const carriedOut = ["warden", "ground", "network", "launch", "start"];

interface Output {
  /** From spawn to the first byte on stdout. */
  readonly ms: number;
  /** Of it, from the decision to the running program; 0 for what is not `tripod run --timings`. */
  readonly carriedOutMs: number;
}

/** Runs a program that ends by itself. */
function firstOutput({ env }: Bench, file: string, argv: readonly string[]): Promise<Output> {
  const begun = performance.now();
  const child = spawn(file, argv, { stdio: ["ignore", "pipe", "pipe"], env, timeout: 20_000 });
  let story = "";
  child.stderr.on("data", (chunk: Buffer) => (story += chunk.toString()));
  return new Promise((resolve, reject) => {
    let first: number | undefined;
    child.stdout.on("data", () => (first ??= performance.now() - begun));
    child.once("error", reject);
    child.once("close", (code) => {
      if (first === undefined)
        reject(new Error(`${file} ${argv.join(" ")} ended with ${code} and no output: ${story}`));
      else
        resolve({
          ms: first,
          carriedOutMs: carriedOut.reduce((sum, stage) => sum + stageMs(story, stage), 0),
        });
    });
  });
}

const stageMs = (story: string, stage: string): number =>
  Number(new RegExp(`^${stage}\\s+([\\d.]+) ms`, "m").exec(story)?.[1] ?? 0);

interface Reply {
  readonly ms: number;
  /** Of it, in the network plugins. */
  readonly networkMs: number;
}

/** Milliseconds from spawn to the first HTTP reply; the sandbox is then ended. */
async function firstReply({ env }: Bench, argv: readonly string[]): Promise<Reply> {
  const begun = performance.now();
  const child: ChildProcess = spawn(tripod, ["run", "--timings", ...argv, "httpreply"], {
    stdio: ["ignore", "ignore", "pipe"],
    env,
    timeout: 30_000,
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
        (answer) => answer.ok,
        () => false,
      ));
    if (answers) taken = performance.now() - begun;
    else await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const ended = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGINT");
  await ended;
  if (taken === undefined) throw new Error(`no reply: ${story}`);
  return { ms: taken, networkMs: stageMs(story, "network") };
}

const keys = <T extends object>(table: T): (keyof T)[] => Object.keys(table) as (keyof T)[];

async function main(bench: Bench): Promise<void> {
  const bundle = runcBundle(bench.root, "exit=0");
  let run = 0;
  const quiet = ["run", "--rm", "--timings", "--network", "none"];
  const exit = ["httpreply", "exit=0"];
  const tenderArgv = [
    "--mem=16",
    `--net:service0=${tap}`,
    join(tree, "build/httpreply/httpreply.spt"),
    "exit=0",
  ];
  const outputs = {
    node: () => firstOutput(bench, tripod, ["version"]),
    tender: () => firstOutput(bench, join(tree, "bin/tripod-tender"), tenderArgv),
    spt: () => firstOutput(bench, tripod, [...quiet, "--monitor", "spt", ...exit]),
    container: () => firstOutput(bench, tripod, [...quiet, "--mode", "container", ...exit]),
    runc: () => firstOutput(bench, "runc", ["run", "--bundle", bundle, `${tap}-${run++}`]),
  };
  const replies = {
    spt: () => firstReply(bench, ["--monitor", "spt"]),
    container: () => firstReply(bench, ["--mode", "container"]),
  };
  const taken: Record<keyof typeof outputs, Output[]> = {
    node: [],
    tender: [],
    spt: [],
    container: [],
    runc: [],
  };
  const replyMs: Record<keyof typeof replies, Reply[]> = { spt: [], container: [] };
  // Two rounds to warm up: the image is built, the facts are probed, the bridge is made.
  for (let round = -2; round < rounds; round++) {
    for (const name of keys(outputs)) {
      const output = await outputs[name]();
      if (round >= 0) taken[name].push(output);
    }
    for (const name of keys(replies)) {
      const reply = await replies[name]();
      if (round >= 0) replyMs[name].push(reply);
    }
  }

  const of = (name: keyof typeof outputs): number => median(taken[name].map(({ ms }) => ms));
  const replyOf = (name: keyof typeof replies): number => median(replyMs[name].map(({ ms }) => ms));
  const networkOf = (name: keyof typeof replies): number =>
    median(replyMs[name].map(({ networkMs }) => networkMs));
  console.log(`medians of ${rounds} rounds, interleaved`);
  row("Node alone (tripod version)", milliseconds(of("node")));
  row("first output: bare tender, spt", milliseconds(of("tender")));
  row("first output: tripod run, spt", milliseconds(of("spt")));
  row("first output: tripod run, container", milliseconds(of("container")));
  row("first output: runc run", milliseconds(of("runc")));
  row(
    "first HTTP reply: tripod run, spt",
    milliseconds(replyOf("spt")),
    `CNI ${milliseconds(networkOf("spt"))}`,
  );
  row(
    "first HTTP reply: tripod run, container",
    milliseconds(replyOf("container")),
    `CNI ${milliseconds(networkOf("container"))}`,
  );
  const ours = median(taken.spt.map(({ carriedOutMs }) => carriedOutMs));
  row("ours above bare tender once Node has decided, spt", milliseconds(ours), "aim ≤ 15 ms");
  row("spt : container, first output", (of("spt") / of("container")).toFixed(2), "aim ≤ 0.80");
}

execFileSync("ip", ["tuntap", "add", tap, "mode", "tap"]);
execFileSync("ip", ["link", "set", tap, "up"]);
try {
  await withBench(main);
} finally {
  execFileSync("ip", ["link", "delete", tap]);
}
