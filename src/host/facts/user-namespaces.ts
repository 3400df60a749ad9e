/** Whether a user namespace with mapped ids can be made: by making one. */

import { TripodError } from "../../spec/errors.ts";
import { runProgram, which } from "../process.ts";
import type { Seen } from "./fact.ts";

const deadlineMs = 5000;

export async function probeUserNamespaces(dirs: readonly string[]): Promise<Seen> {
  const unshare = which("unshare", dirs);
  const id = which("id", dirs);
  if (unshare === undefined || id === undefined)
    return { works: false, evidence: `unshare (util-linux) or id (coreutils) is not in ${dirs.join(":")}` };
  try {
    const result = await runProgram(unshare, ["--user", "--map-root-user", "--", id, "-u"], { deadlineMs });
    return result.code === 0 && result.stdout.trim() === "0"
      ? { works: true, evidence: "one was made, with its ids mapped" }
      : { works: false, evidence: result.stderr.trim().slice(0, 300) || `unshare ended with ${result.code}` };
  } catch (error) {
    if (error instanceof TripodError) return { works: false, evidence: error.message };
    throw error;
  }
}
