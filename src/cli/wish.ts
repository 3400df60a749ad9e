/** The wishes of `run` and `explain`, from their flags. */

import { present } from "../spec/present.ts";
import { parseCpus, parseMemory } from "../spec/units.ts";
import type { Wish } from "../spec/values.ts";
import type { RunOptions } from "./flags.ts";

/** Throws `memory-invalid`, `usage`. */
export const wishOf = (options: Pick<RunOptions, "mode" | "monitor" | "memory" | "cpus">): Wish => ({
  mode: options.mode,
  ...present({
    monitor: options.monitor,
    memoryBytes: options.memory === undefined ? undefined : parseMemory(options.memory, "--memory"),
    cpus: options.cpus === undefined ? undefined : parseCpus(options.cpus, "--cpus"),
  }),
});
