/** load: images from an archive or a directory. */

import { resolve } from "node:path";
import { loadImages } from "../image/load.ts";
import { familiarName, parseReference } from "../spec/reference.ts";
import { openStore } from "../image/store.ts";
import { TripodError } from "../spec/errors.ts";
import { hostPath } from "../spec/paths.ts";
import { collectAfterFailure } from "./collect.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { LoadOptions } from "./flags.ts";
import { interruptible } from "./interrupt.ts";
import { progressLine } from "./progress.ts";
import { visible } from "./terminal.ts";

/**
 * Prints `<reference> <digest>` for each image, with `quiet` the reference alone. What a failed load has put and nothing names goes again;
 * images of the archive that had got their names before stay.
 */
export async function handle({ options, globals, terminal }: Invocation<LoadOptions>): Promise<number> {
  const { input, name } = options;
  const isStream = input === undefined || input === "-";
  if (isStream && terminal.inputIsTerminal)
    throw new TripodError("usage", "standard input is a terminal, not an archive", {
      hint: "tripod load -i FILE, or docker save IMAGE | tripod load",
    });
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  return interruptible(async ({ signal }) => {
    const progress = progressLine(terminal, visible(isStream ? "standard input" : input));
    try {
      const images = await loadImages(store, isStream ? process.stdin : hostPath(resolve(input)), {
        ...(name === undefined ? {} : { name }),
        onProgress: progress.show,
        signal,
      });
      progress.end();
      for (const image of images) {
        const reference = familiarName(parseReference(image.name));
        terminal.write(options.quiet ? `${reference}\n` : `${reference} ${image.digest}\n`);
      }
      return 0;
    } catch (error) {
      await collectAfterFailure(context, store);
      throw error;
    } finally {
      progress.end();
    }
  });
}
