/** The image that a person names: from the store, from our own example, or from its registry. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Image, findImage } from "../image/image.ts";
import type { Store } from "../image/store.ts";
import type { Context } from "../lifecycle/context.ts";
import { TripodError } from "../spec/errors.ts";
import { hostPath } from "../spec/paths.ts";
import type { RunOptions } from "./flags.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Finds the image, or fetches it as `pull` says; the caller holds a lease of the store. A name that an example of the installation has is
 * built from it when the store has no such image. Throws `image-not-found` and what the registry's or the builder's functions throw.
 */
export async function imageFor(
  context: Context,
  store: Store,
  reference: string,
  options: Pick<RunOptions, "pull" | "plainHttp">,
  terminal: Terminal,
  signal?: AbortSignal,
): Promise<Image> {
  if (options.pull !== "always") {
    const image = findImage(store, reference);
    if (image !== undefined) return image;
  }
  if (await buildExample(context, store, reference, terminal)) return found(store, reference);
  if (options.pull === "never")
    throw new TripodError("image-not-found", `${reference} is not in the store, and --pull never was given`, {
      hint: `tripod pull ${reference}`,
    });
  const { fetchImage } = await import("./fetch-image.ts");
  return fetchImage(
    store,
    reference,
    { plainHttp: options.plainHttp, allPlatforms: false },
    terminal,
    signal,
  );
}

function found(store: Store, reference: string): Image {
  const image = findImage(store, reference);
  if (image === undefined) throw new TripodError("bug", `${reference} was fetched and is not in the store`);
  return image;
}

/** Builds `examples/<name>` if the reference is just that name. False when there is no such example. */
async function buildExample(
  context: Context,
  store: Store,
  reference: string,
  terminal: Terminal,
): Promise<boolean> {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(reference)) return false;
  const recipe = hostPath(join(context.tree, "examples", reference, "tripod.json"));
  if (!existsSync(recipe)) return false;
  const { buildFromFile } = await import("../image/build.ts");
  if (terminal.showsProgress) terminal.note(`building the example ${reference}`);
  await buildFromFile(store, recipe, { base: context.tree, reference });
  return true;
}
