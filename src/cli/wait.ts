/** wait: until sandboxes end. */

import { waitSandbox } from "../lifecycle/stop.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { eachSandbox } from "./each-sandbox.ts";
import type { WaitOptions } from "./flags.ts";

/** Prints the exit status of each, in the order of the names; our own status is 0 all the same, as docker's. */
export async function handle({ args, globals, terminal }: Invocation<WaitOptions>): Promise<number> {
  const context = await openContext(globals);
  return eachSandbox(context, args, { globals, terminal }, async (view) =>
    String((await waitSandbox(context, view)).exitCode),
  );
}
