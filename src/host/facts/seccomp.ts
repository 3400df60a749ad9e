/** Whether the kernel ends a whole process on a forbidden system call: monitors are confined with nothing weaker. */

import { readFileSync } from "node:fs";
import { errnoOf } from "../../spec/errors.ts";
import type { Seen } from "./fact.ts";

const actionsFile = "/proc/sys/kernel/seccomp/actions_avail";

export function probeSeccomp(file: string = actionsFile): Seen {
  try {
    const actions = readFileSync(file, "utf8").trim().split(/\s+/);
    return actions.includes("kill_process")
      ? { works: true, evidence: "the kernel has seccomp filters with kill_process" }
      : { works: false, evidence: `${file} has no kill_process` };
  } catch (error) {
    return { works: false, evidence: `${file}: ${errnoOf(error) ?? String(error)}` };
  }
}
