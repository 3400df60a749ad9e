/** rm: removes sandboxes. */

import { removeSandbox } from "../lifecycle/remove.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { eachSandbox } from "./each-sandbox.ts";
import type { RmOptions } from "./flags.ts";

/** Prints the name of each sandbox removed. With `force`, a name that nothing has is passed over: what was wanted is so. */
export async function handle({ args, options, globals, terminal }: Invocation<RmOptions>): Promise<number> {
  const context = await openContext(globals);
  const { force } = options;
  return eachSandbox(context, args, { globals, terminal, passOver: force }, async (view, name) => {
    await removeSandbox(context, view, { force });
    return name;
  });
}
