/** `-e NAME=VALUE` and `-e NAME`. */

import { TripodError } from "../spec/errors.ts";

/**
 * Environment entries `NAME=VALUE` from a repeated flag. A name without `=` takes our own variable's value, and is left out where we have
 * none, as docker does. Throws `usage` for an empty name or a NUL.
 */
export function environmentEntries(
  given: readonly string[],
  own: Readonly<Record<string, string | undefined>>,
): string[] {
  return given.flatMap((entry) => {
    const at = entry.indexOf("=");
    const name = at < 0 ? entry : entry.slice(0, at);
    if (name === "" || entry.includes("\0"))
      throw new TripodError("usage", `--env: ${JSON.stringify(entry.slice(0, 80))} has no name`, {
        hint: "--env NAME=VALUE",
      });
    if (at >= 0) return [entry];
    const value = own[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
}
