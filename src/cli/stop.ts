/** stop: asks, then kills. */

import { stopSandbox } from "../lifecycle/stop.ts";
import { TripodError } from "../spec/errors.ts";
import { parseDuration } from "../spec/units.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { eachSandbox } from "./each-sandbox.ts";
import type { StopOptions } from "./flags.ts";

/** Longer than an hour is a slip of the keyboard. */
const maxTimeoutMs = 3_600_000;

/** Prints the name of each sandbox that has stopped. One that had stopped before is no error. */
export async function handle({ args, options, globals, terminal }: Invocation<StopOptions>): Promise<number> {
  const timeoutMs = options.time === undefined ? undefined : parseDuration(options.time, "--time");
  if (timeoutMs !== undefined && timeoutMs > maxTimeoutMs)
    throw new TripodError("usage", "--time: at most an hour (3600)");
  const context = await openContext(globals);
  return eachSandbox(context, args, { globals, terminal }, async (view, name) => {
    await stopSandbox(context, view, timeoutMs === undefined ? {} : { timeoutMs });
    return name;
  });
}
