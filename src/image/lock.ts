/**
 * Locks between processes, as files that name their holder by pid and start time, so that a holder that died holds nothing. A process
 * *announces* itself by a file of its own name and then *looks* at all others: of two that come at once, at least one sees the other and
 * steps back. No file is ever taken over, so there is no race about a stale one: any process may remove the announcement of a dead one,
 * because its name is never used again.
 *
 * All holders must see each other's pids: one pid namespace, the host's.
 */

import { readdir, unlink, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { processStartTicks } from "../host/processes.ts";
import { makeDirectories, stateError } from "../host/state-error.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";

export type LockMode = "exclusive" | "shared";

export interface LockOptions {
  /** What is locked: letters, digits and `-`. */
  readonly key: string;
  readonly mode: LockMode;
  /** Milliseconds to wait for others; 0: not at all. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal;
}

export interface Lock {
  /** Idempotent. */
  release(): Promise<void>;
}

/** Takes a lock in `dir`, which is made (0700) if missing. Throws `timeout` when others hold it until the deadline, and as `stateError`. */
export async function takeLock(dir: HostPath, options: LockOptions): Promise<Lock> {
  const lock = await tryLock(dir, options);
  if (lock !== undefined) return lock;
  throw new TripodError(
    "timeout",
    `another process held ${dir}/${options.key} for ${options.deadlineMs} ms`,
    {
      hint: "wait for the other tripod to end, or end it",
    },
  );
}

/** As `takeLock`; undefined when others hold it until the deadline. */
export async function tryLock(dir: HostPath, options: LockOptions): Promise<Lock | undefined> {
  const start = await processStartTicks(process.pid);
  const nonce = randomBytes(6).toString("hex");
  const own = `${options.key}.${options.mode}.${process.pid}.${start ?? 0}.${nonce}`;
  const path = join(dir, own);
  const deadline = performance.now() + options.deadlineMs;
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted();
    await announce(dir, path);
    try {
      if (!(await isContested(dir, own, options))) return { release: () => withdraw(path) };
    } catch (error) {
      await withdraw(path);
      throw error;
    }
    await withdraw(path);
    if (performance.now() >= deadline) return undefined;
    // Random, so that two that stepped back from each other do not meet again for ever.
    await sleep((1 + Math.random()) * Math.min(2 ** attempt, 50), undefined, { signal: options.signal });
  }
}

async function announce(dir: HostPath, path: string): Promise<void> {
  try {
    await writeFile(path, "", { mode: 0o600, flag: "wx" });
  } catch (error) {
    try {
      if (errnoOf(error) !== "ENOENT") throw error;
      makeDirectories(dir);
      await writeFile(path, "", { mode: 0o600, flag: "wx" });
    } catch (inner) {
      throw stateError(inner, `${dir} cannot be written`);
    }
  }
}

async function withdraw(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw error;
  });
}

async function isContested(dir: HostPath, own: string, options: LockOptions): Promise<boolean> {
  for (const name of await readdir(dir)) {
    if (name === own) continue;
    const [key, mode, pid, ticks] = name.split(".");
    if (key !== options.key || (mode === "shared" && options.mode === "shared")) continue;
    if ((await processStartTicks(Number(pid))) === Number(ticks)) return true;
    await withdraw(join(dir, name));
  }
  return false;
}
