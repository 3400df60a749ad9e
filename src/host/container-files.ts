/**
 * Files of a running container, by its first process. The container may change its root file system at any time and puts there what it likes, so each part
 * of a path is opened by itself, beneath an open directory, and no symbolic link is followed: an absolute one would lead through the host's root.
 */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { errnoOf } from "../spec/errors.ts";
import { processStartTicks } from "./processes.ts";

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/**
 * The text of a regular file of at most `maxBytes`. Undefined when it is not there, is something else, is longer, lies behind a symbolic link, or when the
 * process is no longer the one that began at `startTicks`.
 */
export async function readContainerFile(
  { pid, startTicks }: { readonly pid: number; readonly startTicks: number },
  path: readonly string[],
  maxBytes: number,
): Promise<string | undefined> {
  let at: FileHandle | undefined;
  try {
    at = await open(`/proc/${pid}/root/`, O_RDONLY | O_DIRECTORY);
    // A number may be another process's by now; the directory that is open is the right one if it is still the same process.
    if ((await processStartTicks(pid)) !== startTicks) return undefined;
    for (const [index, part] of path.entries()) {
      const last = index === path.length - 1;
      const next = await open(
        `/proc/self/fd/${at.fd}/${part}`,
        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (last ? 0 : O_DIRECTORY),
      );
      await at.close();
      at = next;
    }
    const stat = await at.stat();
    if (!stat.isFile() || stat.size > maxBytes) return undefined;
    const { buffer, bytesRead } = await at.read(Buffer.alloc(stat.size), 0, stat.size, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  } finally {
    await at?.close();
  }
}
