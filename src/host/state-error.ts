/** Errors of the state's directories, in words that tell what to do; and their making. */

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { statIfSeen } from "./stat-if-seen.ts";

/**
 * A system error at a path of the state, as one that tells what to do: `disk-full`, `not-root` (what root could do), `state-unwritable`. Other
 * errors as they are. `what` begins the message: `/var/lib/tripod cannot be written`.
 */
export function stateError(cause: unknown, what: string): unknown {
  const errno = errnoOf(cause);
  switch (errno) {
    case "ENOSPC":
    case "EDQUOT":
      return new TripodError("disk-full", `${what}: no space left`, { cause });
    case "EACCES":
    case "EPERM":
      return process.geteuid?.() === 0
        ? new TripodError("state-unwritable", `${what}: ${errno}`, { cause })
        : new TripodError("not-root", `${what}: ${errno}`, { cause });
    case "EROFS":
      return new TripodError("state-unwritable", `${what}: its file system is read-only`, { cause });
    case "ENOTDIR":
    case "EEXIST":
      return new TripodError("state-unwritable", `${what}: something in its path is not a directory`, {
        cause,
      });
    case "ELOOP":
      return new TripodError("state-unwritable", `${what}: its symbolic links lead in a circle`, { cause });
    default:
      return cause;
  }
}

/**
 * Makes a directory (0700) and those above it. As `mkdirSync` with `recursive`, which tells a read-only file system as a missing directory.
 * Throws as that does.
 */
export function makeDirectories(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === "EEXIST" && statIfSeen(path)?.isDirectory() === true) return;
    if (errno !== "ENOENT" || dirname(path) === path) throw error;
    makeDirectories(dirname(path));
    // Once more only: a symbolic link to nothing cannot be made a directory, and somebody may have been faster.
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }
}
