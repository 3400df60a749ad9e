/** One number of a sandbox's own, by its id: what is its alone on this host and has a number is numbered so. */

import { createHash } from "node:crypto";

/** Distributions hand out no user up here. */
const first = 0x7000_0000;
const bits = 24;

/** The user and group that a monitor runs as, and its guest's address on a vsock: of 2^24 one, the same for the same id. */
export const ownNumber = (id: string): number =>
  first + (createHash("sha256").update(id).digest().readUInt32BE(0) >>> (32 - bits));
