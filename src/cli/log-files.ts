/**
 * Reads a sandbox's log files in the order they were written, `log.N` … `log.1`, `log`, while the warden may rotate them: a file is known
 * by its inode, so that none is read twice and none is missed that is still there.
 */

import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { watch } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";

const chunkBytes = 64 << 10;
/** Milliseconds between looks when nothing wakes us. */
const lookMs = 500;

export interface LogReading {
  /** Whether to go on at the end of the newest file. */
  readonly follow: boolean;
  /** Whether the sandbox has ended, so that nothing more will be written. */
  readonly hasEnded: () => Promise<boolean>;
  readonly signal?: AbortSignal;
}

/** The log's bytes in chunks. Yields an empty chunk when all that was there has been read and `follow` waits for more. */
export async function* readLog(dir: HostPath, reading: LogReading): AsyncGenerator<Uint8Array> {
  let current = await openNext(dir, undefined);
  const wake = reading.follow ? watchDir(dir) : undefined;
  try {
    for (;;) {
      if (current !== undefined) yield* readToEnd(current.file);
      const ended = !reading.follow || (await reading.hasEnded());
      // After the look at the end: what was written before the sandbox ended is in the files now.
      if (current !== undefined) yield* readToEnd(current.file);
      const next: LogFile | undefined = await openNext(dir, current?.inode);
      if (next !== undefined) {
        // The warden rotates after its last write: nothing can follow in the old file any more, but something may have come just before.
        if (current !== undefined) {
          yield* readToEnd(current.file);
          await current.file.close();
        }
        current = next;
        continue;
      }
      if (ended || reading.signal?.aborted === true) return;
      yield new Uint8Array(0);
      await (wake?.next(reading.signal) ?? sleep(lookMs));
    }
  } finally {
    wake?.close();
    await current?.file.close();
  }
}

interface LogFile {
  readonly file: FileHandle;
  readonly inode: bigint;
}

async function* readToEnd(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { bytesRead, buffer } = await file.read({ buffer: Buffer.allocUnsafe(chunkBytes) });
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The file after the one with `inode`, oldest first; the oldest of all when that is undefined or no longer there. */
async function openNext(dir: HostPath, inode: bigint | undefined): Promise<LogFile | undefined> {
  // A rotation between listing and opening shifts the names: then the list is made anew.
  for (let tries = 0; tries < 20; tries++) {
    const files = await listFiles(dir);
    const at = files.findIndex((entry) => entry.inode === inode);
    const wanted = inode === undefined || at < 0 ? files[0] : files[at + 1];
    if (wanted === undefined) return undefined;
    const file = await open(join(dir, wanted.name), "r").catch(missing);
    if (file === undefined) continue;
    if ((await file.stat({ bigint: true })).ino === wanted.inode) return { file, inode: wanted.inode };
    await file.close();
  }
  return undefined;
}

/** Oldest first. */
async function listFiles(dir: HostPath): Promise<{ readonly name: string; readonly inode: bigint }[]> {
  const names = (await readdir(dir).catch(missing)) ?? [];
  const numbered = names.flatMap((name) => {
    const match = /^log(?:\.(\d{1,4}))?$/.exec(name);
    return match === null ? [] : [{ name, age: Number(match[1] ?? 0) }];
  });
  const files = numbered
    .toSorted((a, b) => b.age - a.age)
    .map(async ({ name }) => ({
      name,
      inode: (await stat(join(dir, name), { bigint: true }).catch(missing))?.ino,
    }));
  const seen = new Set<bigint>();
  return (await Promise.all(files)).flatMap(({ name, inode }) => {
    // A file renamed between two looks may show under both its names.
    if (inode === undefined || seen.has(inode)) return [];
    seen.add(inode);
    return [{ name, inode }];
  });
}

const missing = (error: unknown): undefined => {
  if (errnoOf(error) !== "ENOENT") throw error;
};

/** Wakes when something happens in the directory, or after a while all the same. */
function watchDir(dir: HostPath): {
  readonly next: (signal?: AbortSignal) => Promise<void>;
  readonly close: () => void;
} {
  let ring: (() => void) | undefined;
  let rung = false;
  const watcher = watch(dir, () => {
    rung = true;
    ring?.();
  });
  // The directory may go while we wait; the timer still wakes us.
  watcher.on("error", () => {});
  return {
    async next(signal) {
      if (!rung) {
        const timer = new AbortController();
        const bell = new Promise<void>((resolve) => (ring = resolve));
        const signals = signal === undefined ? timer.signal : AbortSignal.any([timer.signal, signal]);
        await Promise.race([bell, sleep(lookMs, undefined, { signal: signals }).catch(() => {})]);
        timer.abort();
      }
      rung = false;
    },
    close: () => watcher.close(),
  };
}
