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

/** Ctrl-C gives up; what was fetched until then is collected later. Throws as `pullImage`. */
export async function fetchImage(
  store: Store,
  reference: string,
  options: FetchOptions,
  terminal: Terminal,
): Promise<Image> {
  const progress = progressLine(terminal, visible(reference));
  try {
    return await pullImage(store, reference, {
      arch: machineFacts().arch,
      // Not given means the default, which is plain for loopback addresses.
      ...(options.plainHttp ? { plainHttp: true } : {}),
      ...(options.allPlatforms ? { choose: everyEntry } : {}),
      onProgress: progress.show,
    });
  } finally {
    progress.end();
  }
}
