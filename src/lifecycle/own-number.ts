/** One number of a sandbox's own, by its id: what is its alone on this host and has a number is numbered so. */

/** Distributions hand out no user up here. */
const first = 0x7000_0000;
const bits = 24;

/** The user and group that a monitor runs as, and its guest's address on a vsock: of 2^24 one, the same for the same id. */
export const ownNumber = (id: string): number => first + (fnv1a(Buffer.from(id)) >>> (32 - bits));

/** The 32-bit FNV-1a hash: spreads ids, and needs no cryptography, whose loading costs a start of Node milliseconds. */
function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c_9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x0100_0193);
  // Short ids differ in their last bytes, which have not reached the upper bits yet.
  hash ^= hash >>> 16;
  return Math.imul(hash, 0x85eb_ca6b) >>> 0;
}
