/** top: the processes of a container, as its runtime tells them. */

import { askRuntime, requireContainer } from "../lifecycle/oci-runtime.ts";
import { findSandbox } from "../lifecycle/store.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";

/** Returns the runtime's exit status. */
export async function handle({ args, globals }: Invocation<object>): Promise<number> {
  const [name = "", ...words] = args;
  const view = await findSandbox(await openContext(globals), name);
  requireContainer(view, "what runs in its guest cannot be seen from here");
  return askRuntime(view, "ps", [view.file.id, ...words]);
}
