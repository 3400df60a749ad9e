/** rmi: removes names of images, and then what nothing needs any more. */

import { familiarSpelling } from "../spec/reference.ts";
import { type Store, openStore } from "../image/store.ts";
import type { SandboxView } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { formatBytes } from "../spec/units.ts";
import { reportError } from "./cli.ts";
import { allSandboxes, collectUnused, digestsOf } from "./collect.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { RmiOptions } from "./flags.ts";
import { findAllStored } from "./stored-image.ts";

/**
 * Prints each name removed; by the beginning of a digest they are all its names, which wants `force` when there are several. A name whose image a sandbox uses is refused while it is the image's last, even with `force`: the sandbox's
 * files would go. With `force`, what is not there is no error.
 */
export async function handle({ args, options, globals, terminal }: Invocation<RmiOptions>): Promise<number> {
  const context = await openContext(globals);
  const store = openStore(context.roots.lib);
  const views = await allSandboxes(context);
  let status = 0;
  for (const name of new Set(args)) {
    try {
      for (const removed of await untag(store, views, name, options.force)) terminal.write(`${removed}\n`);
    } catch (error) {
      const exit = reportError(error, globals.debug, terminal);
      status = status === 0 ? exit : status;
    }
  }
  const result = await collectUnused(context, store);
  if (result.bytes > 0) terminal.note(`freed ${formatBytes(result.bytes)}`);
  return status;
}

async function untag(
  store: Store,
  views: readonly SandboxView[],
  name: string,
  force: boolean,
): Promise<readonly string[]> {
  const found = findAllStored(store, name);
  const [stored] = found;
  if (stored === undefined) {
    if (force) return [];
    throw new TripodError(
      "image-not-found",
      `no image in the store is called ${JSON.stringify(name.slice(0, 200))}`,
      {
        exit: 1,
        hint: "tripod images",
      },
    );
  }
  const familiar = found.map((reference) => familiarSpelling(reference.name));
  if (found.length > 1 && !force)
    throw new TripodError("usage", `${name} has several names: ${familiar.join(", ")}`, {
      exit: 1,
      hint: `tripod rmi -f ${name} removes them all; or remove one by its name`,
    });
  const { digest } = stored.descriptor;
  const names = new Set(found.map((reference) => reference.name));
  const isLast = store
    .references()
    .every((other) => names.has(other.name) || other.descriptor.digest !== digest);
  const user = views.find((view) => digestsOf(view).includes(digest));
  if (isLast && user !== undefined)
    throw new TripodError(
      "image-in-use",
      `${name} is used by the sandbox ${user.file.name} (${user.status})`,
      {
        hint: `tripod rm -f ${user.file.name}`,
      },
    );
  for (const removed of names) await store.untag(removed);
  return familiar;
}
