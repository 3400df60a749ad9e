/** update: new limits for a container that runs. */

import { findSandbox } from "../lifecycle/store.ts";
import { updateSandbox } from "../lifecycle/update.ts";
import { TripodError } from "../spec/errors.ts";
import { present } from "../spec/present.ts";
import { parseCpus, parseMemory } from "../spec/units.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { UpdateOptions } from "./flags.ts";

/** Throws `usage` when no limit is given. */
export async function handle({ args, options, globals }: Invocation<UpdateOptions>): Promise<number> {
  const { memory, cpus, pids } = options;
  if (memory === undefined && cpus === undefined && pids === undefined)
    throw new TripodError("usage", "update needs a new limit", { hint: "-m 256m, --cpus 0.5 or --pids 100" });
  const view = await findSandbox(await openContext(globals), args[0] ?? "");
  return updateSandbox(
    view,
    present({
      memoryBytes: memory === undefined ? undefined : parseMemory(memory, "--memory"),
      cpus: cpus === undefined ? undefined : parseCpus(cpus, "--cpus"),
      pids: pids === undefined ? undefined : parsePids(pids),
    }),
  );
}

function parsePids(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new TripodError("usage", `--pids: ${JSON.stringify(text.slice(0, 40))} is no number of processes`, {
    hint: "--pids 100",
  });
}
