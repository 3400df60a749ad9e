/** The one recursive delete: only beneath a directory of ours, never across a mount, never through a symbolic link. */

import { type Stats, lstatSync } from "node:fs";
import { lstat, readdir, rmdir, unlink } from "node:fs/promises";
import { join, normalize } from "node:path";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";

/**
 * Removes `path` and all in it; what is not there is no error. Throws `bug` when `path` is not properly beneath `beneath`, and
 * `step-failed` when something in it is a mount point of another file system, before anything on the other side is touched.
 *
 * For directories that only we write to (0700): an attacker who could rename directories while this runs is out of scope; the warden
 * removes what a workload could have written to, by file descriptors.
 */
export async function removeTree(path: HostPath, options: { readonly beneath: HostPath }): Promise<void> {
  if (normalize(path) !== path || !path.startsWith(`${options.beneath}/`))
    throw new TripodError("bug", `refusing to remove ${path}: it is not beneath ${options.beneath}`);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  const parent = lstatSync(options.beneath);
  await removeEntry(path, stat, parent.dev);
}

async function removeEntry(path: string, stat: Stats, device: number): Promise<void> {
  if (stat.dev !== device)
    throw new TripodError("step-failed", `refusing to remove ${path}: something is mounted there`, {
      hint: `umount ${path}`,
    });
  if (!stat.isDirectory()) return ignoreMissing(unlink(path));
  for (const name of await readdir(path)) {
    const entry = join(path, name);
    const entryStat = await lstat(entry).catch(missing);
    if (entryStat !== undefined) await removeEntry(entry, entryStat, device);
  }
  await ignoreMissing(rmdir(path));
}

const missing = (error: unknown): undefined => {
  if (errnoOf(error) !== "ENOENT") throw error;
};

async function ignoreMissing(removing: Promise<void>): Promise<void> {
  await removing.catch(missing);
}
