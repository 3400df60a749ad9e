/** A directory for the length of one probe. */

import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { TripodError } from "../../spec/errors.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";
import { removeTree } from "../remove-tree.ts";

/** Calls `use` with a fresh directory (0700) in `parent`, removed afterwards. Throws `state-unwritable` where none can be made. */
export async function withScratch<T>(parent: HostPath, use: (dir: HostPath) => Promise<T>): Promise<T> {
  let dir: HostPath;
  try {
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    dir = hostPath(mkdtempSync(join(parent, ".probe-")));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TripodError("state-unwritable", `no probe directory can be made in ${parent}: ${why}`, {
      cause,
      hint: "run as root, or choose another --root",
    });
  }
  try {
    return await use(dir);
  } finally {
    await removeTree(dir, { beneath: parent });
  }
}
