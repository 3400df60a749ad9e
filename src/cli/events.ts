/** events: what a container's runtime tells while it runs. */

import { askRuntime, requireContainer } from "../lifecycle/oci-runtime.ts";
import { findSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { EventsOptions } from "./flags.ts";

/** Returns the runtime's exit status. */
export async function handle({ args, options, globals }: Invocation<EventsOptions>): Promise<number> {
  const [name = ""] = args;
  const view = await findSandbox(await openContext(globals), name);
  requireContainer(view, "it has no runtime that tells events");
  if (view.file.monitor !== "runc")
    throw new TripodError(
      "exec-refused",
      `${view.file.name} runs by ${view.file.monitor}, which tells no events`,
      {
        hint: `tripod stats ${name}`,
      },
    );
  return askRuntime(view, "events", [...(options.stats ? ["--stats"] : []), view.file.id]);
}
