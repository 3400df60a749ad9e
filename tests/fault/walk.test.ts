/**
 * The fault walk: the warden, and the command that started it, are killed at every write of the warden (each journal line is one, and so is each answer and each change of
 * its state), for each mode. Afterwards `tripod rm -f` must leave nothing. An installation of the test's own has strace in the warden's place, which injects the signal exactly there.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { left, traces } from "../support/leftovers.ts";
import { type Lab, eventually, makeLab, outcomeOf, readdirSafe, tree } from "../support/tripod.ts";

const cases = [
  { mode: "unikernel", argv: ["--monitor", "spt"] },
  { mode: "container", argv: [] },
] as const;

/** More writes than any start has: a walk that gets here has not found the end. */
const mostWrites = 200;

interface Installation {
  /** Starts `tripod run -d …` with the signal injected into the warden's nth write. */
  run(
    lab: Lab,
    signal: "SIGKILL" | "SIGSTOP",
    nth: number,
    argv: readonly string[],
  ): ReturnType<typeof spawn>;
}

/** A copy of the bundle in a tree whose `bin/tripod-warden` runs the real one under strace. */
function makeInstallation(t: TestContext): Installation {
  const home = mkdtempSync(join(tmpdir(), "tripod-walk-"));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  for (const name of ["package.json", "build/tripod.cjs", "build/bundle/tripod.cjs"])
    cpSync(join(tree, name), join(home, name));
  for (const name of ["examples", "build/httpreply", "bin/tripod-tender"]) {
    mkdirSync(join(home, name, ".."), { recursive: true });
    symlinkSync(join(tree, name), join(home, name));
  }
  const wrapper = join(home, "bin/tripod-warden");
  return {
    run(lab, signal, nth, argv) {
      // Only `serve` is hit: clean-up and unpacking run undisturbed. -D keeps the warden the command's own child.
      const strace = `strace -D -qq -o /dev/null -e trace=write -e inject=write:signal=${signal}:when=${nth}`;
      const warden = join(tree, "bin/tripod-warden");
      writeFileSync(
        wrapper,
        `#!/bin/sh\nPATH=/usr/bin:/bin\n[ "$1" = serve ] && exec ${strace} ${warden} "$@"\nexec ${warden} "$@"\n`,
      );
      chmodSync(wrapper, 0o755);
      return spawn(process.execPath, [join(home, "build/tripod.cjs"), "run", "-d", ...argv], {
        stdio: ["ignore", "pipe", "pipe"],
        env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "/root", TRIPOD_ROOT: lab.root },
      });
    },
  };
}

const idsOf = (lab: Lab): string[] =>
  readdirSafe(join(lab.root, "run", "default")).filter((entry) => /^[0-9a-f]{32}$/.test(entry));

/** Bridge, base chains and caches stand after a first run. */
async function warmUp(lab: Lab, argv: readonly string[]): Promise<void> {
  const id = (await lab.ok(["run", "-d", ...argv])).trim();
  await lab.ok(["rm", "-f", id]);
}

async function nothingLeft(lab: Lab, before: ReturnType<typeof traces>, what: string): Promise<void> {
  const ids = idsOf(lab);
  if (ids.length > 0) await lab.ok(["rm", "-f", ...ids], { timeoutMs: 120_000 });
  const fresh = () => left(before, traces(lab.root));
  // A killed process is reaped a moment later.
  await eventually(
    `nothing left ${what}`,
    () => (Object.keys(fresh()).length === 0 ? true : undefined),
    5000,
  ).catch(() => assert.deepEqual(fresh(), {}, `left ${what}`));
}

interface WardenSeen {
  readonly pid: number;
  readonly parent: number;
  readonly stopped: boolean;
}

/** The live warden of the lab's only sandbox. */
function wardenOf(lab: Lab): WardenSeen | undefined {
  for (const pid of readdirSafe("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`serve\0--dir\0${lab.root}/`)) continue;
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      // The stage process shows its parent's command line until it becomes the monitor; strace names itself.
      const name = /^Name:\s*(\S+)/m.exec(status)?.[1];
      const state = /^State:\s*(\S)/m.exec(status)?.[1];
      const parent = Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]);
      if (name !== "tripod-warden" || state === "Z" || isWardenProcess(parent)) continue;
      return { pid: Number(pid), parent, stopped: state === "T" || state === "t" };
    } catch {
      // Ended meanwhile.
    }
  return undefined;
}

function isWardenProcess(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "tripod-warden";
  } catch {
    return false;
  }
}

for (const { mode, argv } of cases) {
  const run = ["--mode", mode, ...argv, "-p", "0:80", "httpreply"];

  test(
    `a warden killed at any of its writes as a ${mode} leaves nothing after rm -f`,
    { timeout: 600_000 },
    async (t) => {
      const lab = makeLab(t);
      const installation = makeInstallation(t);
      await warmUp(lab, run);
      const before = traces(lab.root);
      let killed = 0;
      for (let nth = 1; ; nth++) {
        assert.ok(nth < mostWrites, "the walk has an end");
        const outcome = await outcomeOf(
          installation.run(lab, "SIGKILL", nth, run),
          `run, its warden killed at write ${nth}`,
          60_000,
        );
        const survived = outcome.code === 0 && wardenOf(lab) !== undefined;
        await nothingLeft(lab, before, `by a ${mode} whose warden was killed at write ${nth}`);
        if (survived) break;
        killed += 1;
      }
      assert.ok(killed >= 10, `only ${killed} writes were walked`);
      t.diagnostic(`killed at ${killed} writes`);
    },
  );

  test(
    `a command killed at any write of its warden as a ${mode} leaves nothing after rm -f`,
    { timeout: 600_000 },
    async (t) => {
      const lab = makeLab(t);
      const installation = makeInstallation(t);
      await warmUp(lab, run);
      const before = traces(lab.root);
      let killed = 0;
      for (let nth = 1; ; nth++) {
        assert.ok(nth < mostWrites, "the walk has an end");
        const child = installation.run(lab, "SIGSTOP", nth, run);
        let hasEnded = false;
        const ended = outcomeOf(child, `run, killed at write ${nth}`, 60_000).finally(
          () => (hasEnded = true),
        );
        const warden = await eventually(`the warden stopped at write ${nth}, or a run that ended`, () => {
          const seen = wardenOf(lab);
          return seen?.stopped === true ? seen : hasEnded ? ("ended" as const) : undefined;
        });
        if (warden === "ended") {
          await nothingLeft(lab, before, "at the end of the walk");
          break;
        }
        child.kill("SIGKILL");
        await ended;
        // One SIGCONT may come while the tracer still hands the SIGSTOP over: it is said until it is heard.
        await eventually("the warden goes on", () => {
          if (wardenOf(lab)?.stopped !== true) return true;
          process.kill(warden.pid, "SIGCONT");
          return undefined;
        });
        await nothingLeft(lab, before, `by a ${mode} whose command was killed at write ${nth}`);
        killed += 1;
      }
      assert.ok(killed >= 10, `only ${killed} writes were walked`);
      t.diagnostic(`killed at ${killed} writes`);
    },
  );
}
