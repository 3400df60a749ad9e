/** inspect: all that is known of sandboxes and images. */

import type { Context } from "../lifecycle/context.ts";
import { findSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { InspectOptions } from "./flags.ts";
import { printAnswer } from "./output.ts";
import { sandboxDocument } from "./sandbox-document.ts";

/** One name prints one object, several an array. Throws when any of them is nothing, and prints nothing then. */
export async function handle({
  args,
  options,
  globals,
  terminal,
}: Invocation<InspectOptions>): Promise<number> {
  const context = await openContext(globals);
  const documents = await Promise.all(args.map((name) => inspectOne(context, name, options.type)));
  await printAnswer(terminal, options.output, documents.length === 1 ? documents[0] : documents, () => "");
  return 0;
}

async function inspectOne(context: Context, name: string, type: InspectOptions["type"]): Promise<object> {
  const sandbox = type === "image" ? undefined : await lookForSandbox(context, name, type === "sandbox");
  if (sandbox !== undefined) return sandbox;
  // Loaded only now: most names are sandboxes'.
  const { openStore } = await import("../image/store.ts");
  const { findStored } = await import("./stored-image.ts");
  const { imageDocument } = await import("./image-document.ts");
  const store = openStore(context.roots.lib);
  const stored = findStored(store, name);
  if (stored !== undefined) return imageDocument(store, stored);
  throw type === "image"
    ? new TripodError(
        "image-not-found",
        `no image in the store is called ${JSON.stringify(name.slice(0, 200))}`,
        {
          exit: 1,
          hint: "tripod images",
        },
      )
    : new TripodError(
        "sandbox-not-found",
        `neither a sandbox nor an image is called ${JSON.stringify(name.slice(0, 200))}`,
        {
          hint: "tripod ps -a; tripod images",
        },
      );
}

async function lookForSandbox(context: Context, name: string, must: boolean): Promise<object | undefined> {
  try {
    return sandboxDocument(await findSandbox(context, name));
  } catch (error) {
    if (!must && error instanceof TripodError && error.code === "sandbox-not-found") return undefined;
    throw error;
  }
}
