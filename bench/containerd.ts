/**
 * Our shim beside runc's, under one containerd of the machine's in a place of its own: `node bench/containerd.ts [rounds] [idle]` (default 20 and 50). `ctr run --rm` to
 * its end, interleaved, medians; 40 detached starts at 8 at once; the memory of that many idle tasks (PSS), of their shims or wardens and of the daemon apart.
 * The last column is what the project aims at.
 */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { boxArchive, guestArchive } from "../tests/support/engines.ts";
import { ociArchive } from "../tests/support/oci-archive.ts";
import { eventually } from "../tests/support/tripod.ts";
import { memoryOf } from "./pss.ts";
import { median, milliseconds, row, tree } from "./support.ts";

const rounds = Number(process.argv[2] ?? 20);
const idle = Number(process.argv[3] ?? 50);
const starts = 40;
const atOnce = 8;

const dir = mkdtempSync(join(tmpdir(), "tripod-bench-containerd-"));
const socket = join(dir, "c.sock");
const root = join(dir, "tripod");
const env = {
  PATH: `${join(tree, "bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
  TRIPOD_ROOT: root,
};

interface Variant {
  readonly name: string;
  readonly runtime: string;
  readonly image: "box" | "guest";
  /** What it runs: to an end at once, and without one. */
  readonly ends: readonly string[];
  readonly waits: readonly string[];
}

const inBox = { image: "box", ends: ["echo", "hi"], waits: ["sleep", "1000"] } as const;
const variants: readonly Variant[] = [
  { name: "runc's shim", runtime: "io.containerd.runc.v2", ...inBox },
  { name: "container", runtime: "io.containerd.tripod.v2", ...inBox },
  {
    name: "unikernel (spt)",
    runtime: "io.containerd.tripod.v2",
    image: "guest",
    ends: ["exit=0"],
    waits: ["port=80"],
  },
];
const [runc, container, unikernel] = variants as readonly [Variant, Variant, Variant];

let next = 0;
const nameOf = (): string => `bench-${process.pid}-${next++}`;
const ctrArguments = (...argv: readonly string[]): string[] => ["--address", socket, "-n", "bench", ...argv];
const ctr = (...argv: readonly string[]): string =>
  execFileSync("ctr", ctrArguments(...argv), { env, encoding: "utf8", timeout: 60_000, stdio: "pipe" });
const runArguments = (
  { runtime, image }: Variant,
  id: string,
  flags: readonly string[],
  words: readonly string[],
): string[] =>
  ctrArguments("run", ...flags, "--runtime", runtime, `docker.io/tests/${image}:1`, id, ...words);

function timed(variant: Variant): number {
  const begun = performance.now();
  const { status, stderr } = spawnSync("ctr", runArguments(variant, nameOf(), ["--rm"], variant.ends), {
    env,
    timeout: 60_000,
  });
  const taken = performance.now() - begun;
  if (status !== 0) throw new Error(`${variant.name}: ${stderr.toString()}`);
  return taken;
}

/** Starts as many detached, so many at once. Seconds that it took, and their ids. */
async function startMany(variant: Variant, count: number): Promise<{ seconds: number; ids: string[] }> {
  const ids = Array.from({ length: count }, nameOf);
  const waiting = [...ids];
  const begun = performance.now();
  const worker = async (): Promise<void> => {
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      const child = spawn("ctr", runArguments(variant, id, ["-d"], variant.waits), {
        env,
        stdio: ["ignore", "ignore", "pipe"],
        timeout: 60_000,
      });
      let story = "";
      child.stderr.on("data", (chunk: Buffer) => (story += chunk.toString()));
      const code = await new Promise((resolve) => child.once("close", resolve));
      if (code !== 0) throw new Error(`${variant.name}: ${story}`);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return { seconds: (performance.now() - begun) / 1000, ids };
}

async function remove(ids: readonly string[]): Promise<void> {
  for (const id of ids) ctr("task", "kill", "-s", "SIGKILL", id);
  for (const id of ids) {
    await eventually("the end", () =>
      spawnSync("ctr", ctrArguments("task", "rm", id), { env }).status === 0 ||
      !ctr("task", "ls", "-q").includes(id)
        ? true
        : undefined,
    );
    ctr("container", "rm", id);
  }
}

/** Processes whose command line has the words. */
const pidsWith = (...words: readonly string[]): number[] =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .filter((entry) => {
      try {
        const argv = readFileSync(`/proc/${entry}/cmdline`, "utf8");
        return words.every((word) => argv.includes(word));
      } catch {
        return false;
      }
    })
    .map(Number);

const sumKb = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + memoryOf(String(pid)).pssKb, 0);

async function measure(): Promise<void> {
  const taken = new Map(variants.map((variant) => [variant, [] as number[]]));
  for (let round = -2; round < rounds; round++)
    for (const variant of variants) {
      const ms = timed(variant);
      if (round >= 0) taken.get(variant)?.push(ms);
    }
  const of = (variant: Variant): number => median(taken.get(variant) ?? []);
  for (const variant of variants) row(`ctr run --rm, ${variant.name}`, milliseconds(of(variant)));
  row("container : runc's shim", (of(container) / of(runc)).toFixed(2), "aim ≤ 1.05");
  row("unikernel : runc's shim", (of(unikernel) / of(runc)).toFixed(2), "aim ≤ 0.80");

  const rates = new Map<Variant, number>();
  for (const variant of variants) {
    const { seconds, ids } = await startMany(variant, starts);
    rates.set(variant, starts / seconds);
    await remove(ids);
  }
  const rate = (variant: Variant): number => rates.get(variant) ?? Number.NaN;
  for (const variant of variants)
    row(`starts a second, ${atOnce} at once, ${variant.name}`, rate(variant).toFixed(1));
  row("unikernels : containers by runc's shim", (rate(unikernel) / rate(runc)).toFixed(2), "aim ≥ 2");

  const memory = new Map<Variant, number>();
  let daemonKb = 0;
  for (const variant of variants) {
    const { ids } = await startMany(variant, idle);
    const pids =
      variant === runc
        ? pidsWith("containerd-shim-runc-v2", "-namespace\0bench", socket)
        : pidsWith("tripod-warden\0task", root);
    if (pids.length !== idle) throw new Error(`${variant.name}: ${pids.length} of ${idle} are there`);
    memory.set(variant, sumKb(pids) / idle);
    if (variant !== runc) daemonKb = sumKb(pidsWith("tripodd", root));
    await remove(ids);
  }
  const kb = (variant: Variant): number => memory.get(variant) ?? Number.NaN;
  for (const variant of variants)
    row(`PSS of a shim or warden, of ${idle}, ${variant.name}`, `${kb(variant).toFixed(1)} kB`);
  row("warden : runc's shim, a container", (kb(container) / kb(runc)).toFixed(3), "aim ≤ 0.05");
  row("warden : runc's shim, a unikernel", (kb(unikernel) / kb(runc)).toFixed(3), "aim ≤ 0.05");
  row("tripodd, PSS", `${(daemonKb / 1024).toFixed(1)} MB`, "aim ≤ 70 MB");
  const all = (kb(container) * 100 + daemonKb) / (kb(runc) * 100);
  row("100 wardens and the daemon : 100 of runc's shims", all.toFixed(2), "aim ≤ 0.30");
}

mkdirSync(root, { recursive: true });
writeFileSync(
  join(dir, "config.toml"),
  `version = 2\nroot = "${dir}/lib"\nstate = "${dir}/run"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
);
const daemon = spawn("containerd", ["--config", join(dir, "config.toml")], { env, stdio: "ignore" });
try {
  await eventually("containerd", () =>
    spawnSync("ctr", ctrArguments("version"), { env }).status === 0 ? true : undefined,
  );
  for (const [image, archive] of [
    ["box", boxArchive(dir)],
    ["guest", guestArchive(dir)],
  ] as const)
    ctr("image", "import", await ociArchive(dir, image, archive, ["sleep", "1000"]));
  await measure();
} finally {
  for (const pid of pidsWith("tripodd", root)) process.kill(pid, "SIGTERM");
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGTERM");
  await ended;
  rmSync(dir, { recursive: true, force: true });
}
