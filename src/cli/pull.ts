/** pull: images from their registries. */

import { openStore } from "../image/store.ts";
import { TripodError } from "../spec/errors.ts";
import { reportError } from "./cli.ts";
import { collectAfterFailure } from "./collect.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { fetchImage } from "./fetch-image.ts";
import type { PullOptions } from "./flags.ts";
import { interruptible } from "./interrupt.ts";

/**
 * Prints `<reference> <digest>` for each image, with `quiet` the digest alone. One that fails does not keep the others from being fetched. Of
 * a pull that failed on its way, the layers that came whole stay, so that the next one goes on from there; what no pull follows goes with the
 * next collection. Of an image that no pull can mend, nothing stays.
 */
export async function handle({ args, options, globals, terminal }: Invocation<PullOptions>): Promise<number> {
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  return interruptible(async ({ signal }) => {
    let status = 0;
    for (const reference of new Set(args)) {
      try {
        const image = await fetchImage(store, reference, options, terminal, signal);
        terminal.write(options.quiet ? `${image.digest}\n` : `${image.reference} ${image.digest}\n`);
      } catch (error) {
        if (signal.aborted) throw error;
        if (error instanceof TripodError && error.code === "image-invalid")
          await collectAfterFailure(context, store);
        const exit = reportError(error, globals.debug, terminal);
        status = status === 0 ? exit : status;
      }
    }
    return status;
  });
}
