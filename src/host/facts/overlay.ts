/** Whether layers can be stacked by overlayfs: by stacking two, in a mount namespace that ends with the probe. */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TripodError } from "../../spec/errors.ts";
import { runProgram, which } from "../process.ts";
import type { ProbeInput, Seen } from "./fact.ts";
import { withScratch } from "./scratch.ts";

const deadlineMs = 10_000;

/**
 * Mounts an overlay whose lower directory lies where layers lie and whose upper where sandboxes' own files lie, since either file system
 * may refuse. The mount is made by util-linux in a private mount namespace: when its process ends, the mount is gone, however it ended.
 */
export async function probeOverlay(input: ProbeInput): Promise<Seen> {
  const unshare = which("unshare", input.dirs);
  const mount = which("mount", input.dirs);
  if (unshare === undefined || mount === undefined)
    return { works: false, evidence: `unshare and mount (util-linux) are not in ${input.dirs.join(":")}` };
  try {
    return await withScratch(input.roots.lib, (below) =>
      withScratch(input.roots.run, async (above) => {
        const lower = join(below, "lower");
        const [upper, work, at] = ["upper", "work", "at"].map((name) => join(above, name));
        for (const dir of [lower, upper, work, at]) if (dir !== undefined) mkdirSync(dir);
        writeFileSync(join(lower, "seen"), "");
        const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
        if (/[,:\\]/.test(below + above))
          return {
            works: false,
            evidence: `${below}: overlayfs takes no comma, colon or backslash in a directory's name`,
          };
        const result = await runProgram(
          unshare,
          [
            "--mount",
            "--propagation",
            "private",
            "--",
            mount,
            "-i",
            "-t",
            "overlay",
            "-o",
            options,
            "overlay",
            String(at),
          ],
          { deadlineMs },
        );
        return result.code === 0
          ? { works: true, evidence: "a layer from the image store was stacked and mounted" }
          : {
              works: false,
              evidence: (result.stderr.trim() || `mount ended with ${result.code}`).slice(0, 300),
            };
      }),
    );
  } catch (error) {
    if (error instanceof TripodError) return { works: false, evidence: error.message };
    throw error;
  }
}
