/** From a reference to an image in the store: what is there, or what a registry gives. */

import { TripodError } from "../spec/errors.ts";
import type { Arch } from "../spec/values.ts";
import { type Image, findImage } from "./image.ts";
import { type Progress, ingest } from "./ingest.ts";
import { type Choose, runnableOn } from "./platform.ts";
import { canonicalName, parseReference } from "../spec/reference.ts";
import type { Store } from "./store.ts";

export interface PullOptions {
  /** This node's architecture, or the one wished for. */
  readonly arch: Arch;
  /** Default: what `arch` could run. */
  readonly choose?: Choose;
  /** Default: only for this machine itself. */
  readonly plainHttp?: boolean;
  /** Default `process.env`: where credentials are looked for. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export type PullPolicy = "missing" | "always" | "never";

export interface ResolveOptions extends PullOptions {
  /** Default `missing`. */
  readonly pull?: PullPolicy;
}

/**
 * The image of a reference, pulled if the policy says so. The caller holds a lease of the store when it goes on to use the content.
 * Throws `usage`, `image-not-found`, `registry-denied`, `registry-failed`, `image-corrupt`, `image-invalid`, `no-fit`, `disk-full`.
 */
export async function resolveImage(store: Store, reference: string, options: ResolveOptions): Promise<Image> {
  const policy = options.pull ?? "missing";
  if (policy !== "always") {
    const found = findImage(store, reference);
    if (found !== undefined) return found;
    if (policy === "never")
      throw new TripodError(
        "image-not-found",
        `${reference} is not in the store, and pulling was forbidden`,
        {
          hint: `tripod pull ${reference}`,
        },
      );
  }
  return pullImage(store, reference, options);
}

/**
 * Fetches the image anew from its registry; what is already in the store is not transferred again, that of a pull that failed included: blobs
 * that came whole stay until a collection. Throws as `resolveImage`.
 */
export async function pullImage(store: Store, reference: string, options: PullOptions): Promise<Image> {
  const parsed = parseReference(reference);
  // Loaded only here: a start from the store must not pay for it.
  const { openRegistry } = await import("./source/registry.ts");
  const { environment = process.env, plainHttp, signal } = options;
  const lease = await store.lease(signal);
  try {
    const { root, source } = await openRegistry(
      parsed,
      { environment, ...(plainHttp === undefined ? {} : { plainHttp }) },
      signal ?? new AbortController().signal,
    );
    await ingest(store, source, root, [canonicalName(parsed)], {
      choose: options.choose ?? runnableOn(options.arch),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
  } finally {
    await lease.release();
  }
  const image = findImage(store, reference);
  if (image === undefined) throw new TripodError("bug", `${reference} was pulled but is not in the store`);
  return image;
}
