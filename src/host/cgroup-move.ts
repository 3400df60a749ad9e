/** The wait that a move between cgroups costs, taken ahead. */

import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Moves this process to the cgroup where it is, and returns at once. The kernel waits for an RCU grace period (about 10 ms) at the first move of a process,
 * and for none at those that follow within some 15 ms: so the warden's move of a monitor finds the wait over, which passed beside our own work. Nothing depends
 * on it: where it cannot be done nothing is said.
 */
export function expectMove(): void {
  try {
    const lines = readFileSync("/proc/self/cgroup", "utf8").split("\n");
    const of = (controllers: string): string | undefined =>
      lines.find((line) => line.split(":")[1] === controllers)?.replace(/^\d+:[^:]*:/, "");
    const memory = of("memory");
    const directory = memory === undefined ? (of("") ?? "/") : join("memory", memory);
    void writeFile(join("/sys/fs/cgroup", directory, "cgroup.procs"), "0").catch(() => {});
  } catch {
    // No /proc, no move.
  }
}
