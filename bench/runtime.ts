/**
 * The OCI command line against runc and crun, interleaved in one run: `node bench/runtime.ts [rounds]` (default 20). Each round takes every runtime through
 * one life: create, start, the first byte of output, state, kill, delete; then a `run`. Medians; the ratios matter. `(tripodd)`: with the daemon up; the
 * others start Node once for `create`. crun is left out where it refuses this machine. The last lines are what docs/SPECIFICATION.md promises.
 */

import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Bench,
  median,
  milliseconds,
  row,
  runcBundle,
  startDaemon,
  tree,
  unikernelBundle,
  withBench,
} from "./support.ts";

const rounds = Number(process.argv[2] ?? 20);
const verbs = ["create", "start", "output", "state", "kill", "delete", "run"] as const;
type Verb = (typeof verbs)[number];
type Times = Record<Verb, number[]>;

interface Variant {
  readonly name: string;
  readonly program: string;
  readonly globals: readonly string[];
  /** Waits to be killed, and ends by itself. */
  readonly bundles: { readonly waits: string; readonly ends: string };
}

const ours = join(tree, "bin/tripod-runtime");

function containerBundle(root: string, name: string, words: readonly string[]): string {
  const made = runcBundle(join(root, name), ...words);
  const path = join(made, "config.json");
  const config: unknown = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify(config));
  return made;
}

let next = 0;

/** Milliseconds that a command takes; throws when it fails. */
function timed(env: Bench["env"], program: string, argv: readonly string[]): number {
  const begun = performance.now();
  const { status, stderr } = spawnSync(program, argv, {
    env,
    stdio: ["ignore", "ignore", "pipe"],
    timeout: 30_000,
  });
  const taken = performance.now() - begun;
  if (status !== 0)
    throw new Error(`${program} ${argv.join(" ")} ended with ${status}: ${stderr.toString()}`);
  return taken;
}

/** Creates with a pipe for output; resolves when `create` has ended. */
async function create(
  env: Bench["env"],
  program: string,
  argv: readonly string[],
): Promise<{ readonly ms: number; readonly firstByte: Promise<number> }> {
  const begun = performance.now();
  const child = spawn(program, argv, { env, stdio: ["ignore", "pipe", "ignore"], timeout: 30_000 });
  const firstByte = new Promise<number>((resolve) => {
    child.stdout.once("data", () => resolve(performance.now() - begun));
  });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`${program} ${argv.join(" ")} ended with ${String(code)}`);
  return { ms: performance.now() - begun, firstByte };
}

async function life({ env }: Bench, variant: Variant, times: Times): Promise<void> {
  const { program, globals, bundles } = variant;
  const id = `bench${process.pid}-${next++}`;
  const { ms, firstByte } = await create(env, program, [...globals, "create", "--bundle", bundles.waits, id]);
  times.create.push(ms);
  times.start.push(timed(env, program, [...globals, "start", id]));
  times.output.push(await firstByte);
  times.state.push(timed(env, program, [...globals, "state", id]));
  times.kill.push(timed(env, program, [...globals, "kill", id, "KILL"]));
  while (statusOf(env, program, globals, id) !== "stopped")
    await new Promise((resolve) => setTimeout(resolve, 5));
  times.delete.push(timed(env, program, [...globals, "delete", id]));
  times.run.push(timed(env, program, [...globals, "run", "--bundle", bundles.ends, `${id}-run`]));
}

function statusOf(env: Bench["env"], program: string, globals: readonly string[], id: string): string {
  const { stdout } = spawnSync(program, [...globals, "state", id], { env, timeout: 10_000 });
  return (JSON.parse(stdout.toString()) as { status: string }).status;
}

async function main(bench: Bench): Promise<void> {
  const { root, env } = bench;
  // Long enough to be killed; the other ends with its first line.
  const unikernel = {
    waits: unikernelBundle(root, "uni-waits", []),
    ends: unikernelBundle(root, "uni-ends", ["exit=0"]),
  };
  const container = {
    waits: containerBundle(root, "con-waits", []),
    ends: containerBundle(root, "con-ends", ["exit=0"]),
  };
  const other = join(root, "without");
  const under = (name: string, tripodRoot: string): string[] => [
    "--root",
    join(root, name),
    "--tripod-root",
    tripodRoot,
  ];
  const daemon = await startDaemon(bench);
  try {
    const variants: Variant[] = [
      { name: "spt (tripodd)", program: ours, globals: under("a", root), bundles: unikernel },
      { name: "spt", program: ours, globals: under("b", other), bundles: unikernel },
      { name: "container (tripodd)", program: ours, globals: under("c", root), bundles: container },
      { name: "container", program: ours, globals: under("d", other), bundles: container },
      { name: "runc", program: "runc", globals: ["--root", join(root, "e")], bundles: container },
      { name: "crun", program: "crun", globals: ["--root", join(root, "f")], bundles: container },
    ].filter(({ name, program, globals, bundles }) => {
      if (name !== "crun") return true;
      const probe = spawnSync(program, [...globals, "run", "--bundle", bundles.ends, "probe"], {
        env,
        timeout: 10_000,
      });
      return probe.status === 0;
    });
    const taken = new Map(
      variants.map(({ name }) => [
        name,
        Object.fromEntries(verbs.map((verb) => [verb, []])) as unknown as Times,
      ]),
    );
    for (let round = -2; round < rounds; round++)
      for (const variant of variants) {
        const kept = taken.get(variant.name);
        const scratch = Object.fromEntries(verbs.map((verb) => [verb, []])) as unknown as Times;
        await life(bench, variant, round < 0 || kept === undefined ? scratch : kept);
      }
    report(taken);
  } finally {
    await daemon.stop();
  }
}

function report(taken: ReadonlyMap<string, Times>): void {
  const of = (name: string, verb: Verb): number => median(taken.get(name)?.[verb] ?? []);
  console.log(`medians of ${rounds} rounds, interleaved; ms`);
  console.log(`${"".padEnd(22)}${verbs.map((verb) => verb.padStart(9)).join("")}`);
  for (const name of taken.keys())
    console.log(`${name.padEnd(22)}${verbs.map((verb) => of(name, verb).toFixed(1).padStart(9)).join("")}`);
  for (const verb of ["start", "state", "kill", "delete"] as const)
    row(`${verb} of a unikernel`, milliseconds(of("spt", verb)), "aim ≤ 5 ms");
  const output = (name: string): string => (of(name, "output") / of("runc", "output")).toFixed(2);
  row("create + start to first output : runc's, tripodd", output("spt (tripodd)"), "aim ≤ 0.80");
  row("create + start to first output : runc's, alone", output("spt"), "aim ≤ 2.00");
  for (const verb of verbs)
    row(
      `container, ${verb}: above runc's, tripodd`,
      milliseconds(of("container (tripodd)", verb) - of("runc", verb)),
      "aim ≤ 3 ms",
    );
}

// State is kept in memory, as engines keep it: their /run is a tmpfs.
await withBench(main, "/dev/shm");
