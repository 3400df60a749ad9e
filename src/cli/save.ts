/** save: images to an archive. */

import { open, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Writable } from "node:stream";
import { saveImages } from "../image/save.ts";
import { openStore } from "../image/store.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { SaveOptions } from "./flags.ts";
import { interruptible } from "./interrupt.ts";

/** A file appears whole or not at all. */
export async function handle({ args, options, globals, terminal }: Invocation<SaveOptions>): Promise<number> {
  const { output } = options;
  const isStream = output === undefined || output === "-";
  if (isStream && terminal.isTerminal)
    throw new TripodError("usage", "standard output is a terminal, which takes no archive", {
      hint: `tripod save -o FILE ${args.join(" ")}`,
    });
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  return interruptible(async ({ signal }) => {
    if (isStream) await saveImages(store, args, process.stdout, signal);
    else await intoFile(resolve(output), (sink) => saveImages(store, args, sink, signal));
    return 0;
  });
}

async function intoFile(path: string, write: (sink: Writable) => Promise<void>): Promise<void> {
  const aside = join(dirname(path), `.tripod-save-${process.pid}`);
  try {
    // Opened here, so that what cannot be opened fails before anything is read.
    const file = await open(aside, "wx", 0o644);
    const sink = file.createWriteStream();
    try {
      await write(sink);
    } finally {
      sink.destroy();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    const code = errnoOf(error);
    if (error instanceof TripodError || code === undefined) throw error;
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new TripodError("disk-full", `writing ${path}: no space left`, { cause: error, hint: "df -h" });
    throw new TripodError("usage", `${path} cannot be written: ${code}`, { cause: error });
  }
}
