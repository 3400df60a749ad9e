/** Fetches an image from its registry, with progress on a terminal. */

import { machineFacts } from "../host/facts/machine.ts";
import type { Image } from "../image/image.ts";
import { pullImage } from "../image/pull.ts";
import { everyEntry } from "../image/platform.ts";
import type { Store } from "../image/store.ts";
import { progressLine } from "./progress.ts";
import { type Terminal, visible } from "./terminal.ts";

export interface FetchOptions {
  readonly plainHttp: boolean;
  readonly allPlatforms: boolean;
}

/** Throws as `pullImage`, and what the signal brings. */
export async function fetchImage(
  store: Store,
  reference: string,
  options: FetchOptions,
  terminal: Terminal,
  signal?: AbortSignal,
): Promise<Image> {
  const progress = progressLine(terminal, visible(reference));
  try {
    return await pullImage(store, reference, {
      arch: machineFacts().arch,
      // Not given means the default, which is plain for loopback addresses.
      ...(options.plainHttp ? { plainHttp: true } : {}),
      ...(options.allPlatforms ? { choose: everyEntry } : {}),
      onProgress: progress.show,
      ...(signal === undefined ? {} : { signal }),
    });
  } finally {
    progress.end();
  }
}
