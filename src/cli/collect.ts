/** What goes with a removed name, and with a load that failed. */

import { readdir } from "node:fs/promises";
import { stateError } from "../host/state-error.ts";
import { type GcResult, collectGarbage } from "../image/gc.ts";
import type { Store } from "../image/store.ts";
import type { Context } from "../lifecycle/context.ts";
import { type SandboxView, listSandboxes } from "../lifecycle/store.ts";
import { errnoOf } from "../spec/errors.ts";
import type { Digest } from "../spec/values.ts";

/** Removes what neither a name nor a sandbox of any namespace needs; nothing while another command holds a lease of the store. */
export async function collectUnused(context: Context, store: Store): Promise<GcResult> {
  return collectGarbage(store, { inUse: (await allSandboxes(context)).flatMap(digestsOf) });
}

/** Collects after a failure, which is told whether or not this works: a later collection finds what stays. */
export async function collectAfterFailure(context: Context, store: Store): Promise<void> {
  try {
    await collectUnused(context, store);
  } catch {
    // What could not be written can often not be removed either.
  }
}

/** The sandboxes of every namespace: the store is one for all. */
export async function allSandboxes(context: Context): Promise<SandboxView[]> {
  const entries = await readdir(context.roots.run, { withFileTypes: true }).catch((error: unknown) => {
    if (errnoOf(error) === "ENOENT") return [];
    throw stateError(error, `${context.roots.run} cannot be read`);
  });
  const namespaces = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith("."));
  const views = await Promise.all(
    namespaces.map(({ name }) => listSandboxes({ ...context, namespace: name })),
  );
  return views.flat();
}

/** What a sandbox needs to be kept. */
export const digestsOf = ({ file }: SandboxView): readonly Digest[] =>
  file.image.index === undefined ? [file.image.manifest] : [file.image.manifest, file.image.index];
