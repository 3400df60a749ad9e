/** Helpers of this folder's tests. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** A directory that is removed with the test. */
export function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "tripod-image-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}
