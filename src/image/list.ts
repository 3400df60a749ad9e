/** What is in the store, and its removal. */

import { TripodError } from "../spec/errors.ts";
import { isDigest } from "../spec/digest.ts";
import type { Digest } from "../spec/values.ts";
import { type GcResult, collectGarbage } from "./gc.ts";
import { type Image, readImage } from "./image.ts";
import { platformText } from "./offers.ts";
import { reachable } from "./reachable.ts";
import { canonicalName, familiarSpelling, parseReference } from "../spec/reference.ts";
import type { Store } from "./store.ts";

/** One row of `images`, and the document of `inspect --type image`. */
export interface ImageSummary {
  /** For people: `debian:12`. */
  readonly name: string;
  /** Of the index or manifest. */
  readonly digest: Digest;
  /** `os/architecture` of every entry that is in the store. */
  readonly platforms: readonly string[];
  /** Bytes of its blobs in the store; images that share blobs count them each. */
  readonly sizeBytes: number;
  /** RFC 3339, from the first config that says so. */
  readonly createdAt: string | undefined;
  /** Why the image cannot be used, e.g. a missing or altered document. */
  readonly problem: string | undefined;
}

/** All images, by name. A broken image is listed with its problem: one must be able to see and remove it. */
export function listImages(store: Store): readonly ImageSummary[] {
  return store.references().map(({ name, descriptor }) => {
    const summary = { name: familiarSpelling(name), digest: descriptor.digest };
    try {
      const image = readImage(store, name, descriptor);
      const sizeBytes = reachable(store, descriptor).reduce((sum, { size }) => sum + size, 0);
      return { ...summary, ...describe(image), sizeBytes, problem: undefined };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      return { ...summary, platforms: [], sizeBytes: 0, createdAt: undefined, problem };
    }
  });
}

function describe(image: Image): Pick<ImageSummary, "platforms" | "createdAt"> {
  const present = image.entries.filter(({ documents }) => documents !== undefined);
  return {
    platforms: present.map(({ descriptor, documents }) => platformText(descriptor, documents?.config)),
    createdAt: present.map(({ documents }) => documents?.config.created).find((time) => time !== undefined),
  };
}

/**
 * The canonical name of what a user wrote: a reference, or the digest or at least 12 hex digits of it. Throws `image-not-found`, `usage` when
 * several images begin so.
 */
export function findName(store: Store, text: string): string {
  const references = store.references();
  const byName = tryCanonical(text);
  if (byName !== undefined && references.some(({ name }) => name === byName)) return byName;
  const prefix = isDigest(text) ? text : `sha256:${text}`;
  if (/^sha256:[0-9a-f]{12,64}$/.test(prefix)) {
    const names = references
      .filter(({ descriptor }) => descriptor.digest.startsWith(prefix))
      .map(({ name }) => name);
    const [first, second] = names;
    if (second !== undefined)
      throw new TripodError("usage", `${text} has several names: ${names.map(familiarSpelling).join(", ")}`, {
        hint: "use one of the names",
      });
    if (first !== undefined) return first;
  }
  throw new TripodError("image-not-found", `${text} is not in the store`, { hint: "tripod images" });
}

function tryCanonical(text: string): string | undefined {
  try {
    return canonicalName(parseReference(text));
  } catch {
    return undefined;
  }
}

export interface RemoveOptions {
  /** What sandboxes run: the manifest, and the index it came from. */
  readonly inUse: readonly { readonly sandbox: string; readonly digests: readonly Digest[] }[];
  /** Also when a sandbox uses it: the name goes, the content stays as long as the sandbox. */
  readonly force: boolean;
}

/** Removes a name, then what nothing needs any more. Throws `image-not-found`, `image-in-use` (naming the sandbox). */
export async function removeImage(
  store: Store,
  text: string,
  options: RemoveOptions,
): Promise<GcResult & { readonly name: string }> {
  const name = findName(store, text);
  const found = store.find(name);
  const others = store.references().filter((other) => other.name !== name);
  const isLastName = !others.some(({ descriptor }) => descriptor.digest === found?.descriptor.digest);
  if (found !== undefined && isLastName && !options.force) {
    const own = documentsBelow(store, found.descriptor.digest);
    const user = options.inUse.find(({ digests }) => digests.some((digest) => own.has(digest)));
    if (user !== undefined)
      throw new TripodError(
        "image-in-use",
        `${familiarSpelling(name)} is used by the sandbox ${user.sandbox}`,
        {
          hint: `tripod rm -f ${user.sandbox}`,
        },
      );
  }
  await store.untag(name);
  const collected = await collectGarbage(store, { inUse: options.inUse.flatMap(({ digests }) => digests) });
  return { ...collected, name: familiarSpelling(name) };
}

/** The root and the manifests that it names; a broken image has only its root. */
function documentsBelow(store: Store, root: Digest): ReadonlySet<Digest> {
  const descriptor = store.references().find((reference) => reference.descriptor.digest === root)?.descriptor;
  try {
    const entries = descriptor === undefined ? [] : readImage(store, root, descriptor).entries;
    return new Set([root, ...entries.map((entry) => entry.descriptor.digest)]);
  } catch {
    return new Set([root]);
  }
}
