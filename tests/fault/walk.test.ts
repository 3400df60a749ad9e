/**
 * The fault walk: the warden, and the command that started it, are killed at every line of the journal, for each mode. Afterwards `tripod rm -f` must leave
 * nothing. strace injects the signals at the system call that syncs a journal line, so that each line is hit exactly.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { left, traces } from "../support/leftovers.ts";
import { type Lab, eventually, launcher, makeLab, outcomeOf, readdirSafe } from "../support/tripod.ts";

const cases = [
  { mode: "unikernel", argv: ["--monitor", "spt"] },
  { mode: "container", argv: [] },
] as const;

const idsOf = (lab: Lab): string[] =>
  readdirSafe(join(lab.root, "run", "default")).filter((entry) => /^[0-9a-f]{32}$/.test(entry));

function journalLines(lab: Lab, id: string): number {
  return readFileSync(join(lab.root, "run/default", id, "journal"), "utf8")
    .trimEnd()
    .split("\n").length;
}

/** Runs the command with a signal injected into whichever process syncs a journal line for the nth time. */
function runInjected(lab: Lab, signal: "SIGKILL" | "SIGSTOP", nth: number, argv: readonly string[]) {
  const inject = `inject=fdatasync:signal=${signal}:when=${nth}`;
  return spawn(
    "strace",
    ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject, launcher, ...argv],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/root", TRIPOD_ROOT: lab.root },
    },
  );
}

/** A run that works, so that bridge, base chains and caches stand; returns how many lines its journal had. */
async function warmUp(lab: Lab, argv: readonly string[]): Promise<number> {
  const id = (await lab.ok(["run", "-d", ...argv])).trim();
  const lines = journalLines(lab, id);
  await lab.ok(["rm", "-f", id]);
  return lines;
}

async function nothingLeft(lab: Lab, before: ReturnType<typeof traces>, what: string): Promise<void> {
  const ids = idsOf(lab);
  if (ids.length > 0) await lab.ok(["rm", "-f", ...ids], { timeoutMs: 120_000 });
  await eventually(
    `nothing left ${what}: ${JSON.stringify(left(before, traces(lab.root)))}`,
    () => (Object.keys(left(before, traces(lab.root))).length === 0 ? true : undefined),
    5000,
  ).catch(() => assert.deepEqual(left(before, traces(lab.root)), {}, `left ${what}`));
}

/** The pid of a stopped process called NAME beneath `root`'s wardens. */
function stoppedWarden(): number | undefined {
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      if (/\(tripod-warden\) [Tt] /.test(stat)) return Number(pid);
    } catch {
      // Ended meanwhile.
    }
  return undefined;
}

for (const { mode, argv } of cases) {
  const run = ["--mode", mode, ...argv, "-p", "0:80", "httpreply"];

  test(`a warden killed at any journal line of a ${mode} leaves nothing after rm -f`, async (t: TestContext) => {
    const lab = makeLab(t);
    const lines = await warmUp(lab, run);
    assert.ok(lines >= 4, `the journal has ${lines} lines`);
    const before = traces(lab.root);
    for (let nth = 1; nth <= lines; nth++) {
      const child = runInjected(lab, "SIGKILL", nth, ["run", "-d", ...run]);
      await outcomeOf(child, `run with its warden killed at line ${nth}`, 60_000);
      await nothingLeft(lab, before, `by a ${mode} whose warden was killed at journal line ${nth}`);
    }
  });

  test(`a command killed at any journal line of a ${mode} leaves nothing after rm -f`, async (t: TestContext) => {
    const lab = makeLab(t);
    const lines = await warmUp(lab, run);
    const before = traces(lab.root);
    for (let nth = 1; nth <= lines; nth++) {
      const child = runInjected(lab, "SIGSTOP", nth, ["run", "-d", ...run]);
      const ended = outcomeOf(child, `run killed at line ${nth}`, 60_000);
      const warden = await eventually(`the warden stopped at line ${nth}`, stoppedWarden);
      const cli = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${warden}/status`, "utf8"))?.[1]);
      assert.ok(cli > 1, "the warden's parent is the command");
      process.kill(cli, "SIGKILL");
      process.kill(warden, "SIGCONT");
      await ended;
      await nothingLeft(lab, before, `by a ${mode} whose command was killed at journal line ${nth}`);
    }
  });
}
