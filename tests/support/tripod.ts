/** Drives the real command line in roots of the test's own. Every process has a deadline and is ended by its id. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

export const tree = join(import.meta.dirname, "../..");
export const launcher = join(tree, "tripod");

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a program to its end. Rejects when it passes its deadline (default 60 s). */
export function runToEnd(file: string, argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = spawn(file, argv, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/root", ...options.env },
  });
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  return outcomeOf(child, `${file} ${argv.join(" ")}`, options.timeoutMs ?? 60_000);
}

/** Collects a started program's output until it ends. */
export function outcomeOf(child: ChildProcess, what: string, timeoutMs: number): Promise<Outcome> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${what} passed its deadline of ${timeoutMs} ms\n${stdout}\n${stderr}`));
    }, timeoutMs);
    child.once("error", reject);
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** A root of the test's own and the command line in it. Everything in it is removed at the end of the test. */
export interface Lab {
  readonly root: string;
  /** Runs `tripod --root … ARGV`. */
  tripod(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** As `tripod`, and fails the test when the exit status is not 0; returns stdout. */
  ok(argv: readonly string[], options?: RunOptions): Promise<string>;
  /** Starts the command and leaves it running; it is killed at the end of the test. */
  start(argv: readonly string[]): ChildProcess;
}

export function makeLab(t: TestContext): Lab {
  const root = mkdtempSync(join(tmpdir(), "tripod-test-"));
  const children: ChildProcess[] = [];
  const env = { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/root", TRIPOD_ROOT: root };
  const lab: Lab = {
    root,
    tripod: (argv, options = {}) => runToEnd(launcher, argv, { ...options, env: { ...env, ...options.env } }),
    async ok(argv, options) {
      const outcome = await lab.tripod(argv, options);
      if (outcome.code !== 0)
        throw new Error(
          `tripod ${argv.join(" ")} ended with ${outcome.code ?? outcome.signal}:\n${outcome.stdout}${outcome.stderr}`,
        );
      return outcome.stdout;
    },
    start(argv) {
      const child = spawn(launcher, argv, { stdio: ["ignore", "pipe", "pipe"], env });
      children.push(child);
      return child;
    },
  };
  t.after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await removeAll(lab);
    removeBridge(root);
    rmSync(root, { recursive: true, force: true });
  });
  return lab;
}

async function removeAll(lab: Lab): Promise<void> {
  const ids = readdirSafe(join(lab.root, "run", "default")).filter((entry) => /^[0-9a-f]{32}$/.test(entry));
  if (ids.length > 0) await lab.tripod(["rm", "-f", ...ids], { timeoutMs: 120_000 });
}

/** The bridge of a root stays by design (as docker0 does); a test's own goes with its root. */
function removeBridge(root: string): void {
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const { readFileSync } = process.getBuiltinModule("node:fs");
  let bridge: string | undefined;
  try {
    bridge = /"bridge": "(tripod-[0-9a-f]{8})"/.exec(
      readFileSync(join(root, "lib/networks/bridge.conflist"), "utf8"),
    )?.[1];
  } catch {
    return;
  }
  if (bridge !== undefined) spawnSync("ip", ["link", "delete", bridge], { timeout: 10_000 });
}

export function readdirSafe(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Waits until `look` gives a value. Fails with `what` after the deadline. */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  timeoutMs = 15_000,
): Promise<T> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const value = await look();
    if (value !== undefined) return value;
    if (Date.now() > until) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A GET that waits until the server answers. */
export function httpGet(url: string, timeoutMs = 20_000): Promise<string> {
  return eventually(
    `an answer of ${url}`,
    () =>
      fetch(url, { signal: AbortSignal.timeout(3000) }).then(
        (response) => response.text(),
        () => undefined,
      ),
    timeoutMs,
  );
}
