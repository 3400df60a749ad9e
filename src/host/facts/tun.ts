/** Whether tap devices can be made: /dev/net/tun opens (which also loads the module where it is one). */

import { closeSync, constants, openSync } from "node:fs";
import { errnoOf } from "../../spec/errors.ts";
import type { Seen } from "./fact.ts";

export const tunPath = "/dev/net/tun";

/** Opening makes no interface, so nothing is left. */
export function probeTun(path: string = tunPath): Seen {
  try {
    closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    return { works: true, evidence: `${path} opens` };
  } catch (error) {
    return { works: false, evidence: `${path} does not open: ${errnoOf(error) ?? String(error)}` };
  }
}
