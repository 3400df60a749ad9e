/** Looking at files that others may keep from us. */

import { type Stats, statSync } from "node:fs";

/** What can be seen at a path; undefined also where we may not look or the way to it is none. */
export function statIfSeen(path: string): Stats | undefined {
  try {
    // The common case is absence; `throwIfNoEntry` spares it the price of an exception.
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
