/** The policy's demands on images by name. */

import type { PolicyDemand } from "../spec/values.ts";

/**
 * Whether a name matches a pattern in which `*` stands for any run of characters, `/` included. Linear in both: patterns are the operator's,
 * but names come from anywhere.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  const parts = pattern.split("*");
  const first = parts[0] ?? "";
  if (parts.length === 1) return pattern === name;
  const last = parts.at(-1) ?? "";
  if (name.length < first.length + last.length) return false;
  if (!name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** The first demand on this image, if any. */
export const demandOn = (demands: readonly PolicyDemand[], image: string): PolicyDemand | undefined =>
  demands.find((demand) => matchesPattern(demand.image, image));
