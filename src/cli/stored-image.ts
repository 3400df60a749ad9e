/** Finds an image of the store by what a person writes: a reference, or the beginning of its digest. */

import { canonicalName, parseReference } from "../spec/reference.ts";
import type { Store, StoredReference } from "../image/store.ts";
import { TripodError } from "../spec/errors.ts";

/** Digits that a digest's beginning must have, so that a short name is never taken for one. */
const leastDigits = 6;

/** The image of that name, by one of its names. Undefined when nothing is called so. Throws `usage` when a beginning fits several digests. */
export const findStored = (store: Store, name: string): StoredReference | undefined =>
  findAllStored(store, name)[0];

/** As `findStored`: the one name that was written, or every name of the digest whose beginning was. */
export function findAllStored(store: Store, name: string): readonly StoredReference[] {
  const references = store.references();
  const named = canonicalOrUndefined(name);
  const found = references.find((reference) => reference.name === named);
  if (found !== undefined) return [found];
  const digits = name.replace(/^sha256:/, "");
  if (!/^[0-9a-f]+$/.test(digits) || digits.length < leastDigits) return [];
  const matches = references.filter(({ descriptor }) => descriptor.digest.startsWith(`sha256:${digits}`));
  if (new Set(matches.map(({ descriptor }) => descriptor.digest)).size > 1)
    throw new TripodError("usage", `${name} is the beginning of several digests`, {
      hint: "tripod images --no-trunc",
    });
  return matches;
}

function canonicalOrUndefined(name: string): string | undefined {
  try {
    return canonicalName(parseReference(name));
  } catch (error) {
    if (error instanceof TripodError) return undefined;
    throw error;
  }
}
