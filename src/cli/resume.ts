/** resume: thaws paused sandboxes. */

import { resumeSandbox } from "../lifecycle/signal.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { eachSandbox } from "./each-sandbox.ts";

/** Prints the name of each sandbox that runs again. */
export async function handle({ args, globals, terminal }: Invocation<object>): Promise<number> {
  const context = await openContext(globals);
  return eachSandbox(context, args, { globals, terminal }, async (view, name) => {
    await resumeSandbox(view);
    return name;
  });
}
