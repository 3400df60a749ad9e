/** What a workload is started with: the image's own words merged with the user's, by docker's rules. */

import { TripodError } from "./errors.ts";
import type { ImageExecution } from "./oci.ts";

export interface CommandWish {
  /** `--entrypoint`; an empty string clears the image's. Either way the image's `Cmd` is dropped. */
  readonly entrypoint?: string;
  /** The words after the image's name. */
  readonly args: readonly string[];
  /** `-e NAME=value`, or `-e NAME` to take it from our own environment (`inherited`). */
  readonly env: readonly string[];
}

/** The program and its arguments; may be empty. */
export function commandOf(image: ImageExecution, { entrypoint, args }: CommandWish): string[] {
  const program = entrypoint === undefined ? (image.Entrypoint ?? []) : entrypoint === "" ? [] : [entrypoint];
  const rest = args.length > 0 || entrypoint !== undefined ? args : (image.Cmd ?? []);
  return [...program, ...rest];
}

/** As `commandOf`, for a mode that needs a program. Throws `usage` when there is none. */
export function requiredCommand(image: ImageExecution, wish: CommandWish): string[] {
  const command = commandOf(image, wish);
  if (command[0] === undefined || command[0] === "")
    throw new TripodError("usage", "the image names no program to run, and none was given", {
      hint: "tripod run IMAGE PROGRAM",
    });
  return command;
}

/** The image's variables, then the user's; a later one replaces an earlier one of its name in place. `-e NAME` that is unset here is left out, as docker does. */
export function environmentOf(
  image: ImageExecution,
  { env }: CommandWish,
  inherited: Readonly<Record<string, string | undefined>>,
): string[] {
  const values = new Map<string, string>();
  for (const entry of [...(image.Env ?? []), ...env.map((word) => fromOurs(word, inherited))]) {
    if (entry === undefined) continue;
    const at = entry.indexOf("=");
    if (at < 1 || entry.includes("\0"))
      throw new TripodError("usage", `not an environment variable: ${JSON.stringify(entry.slice(0, 80))}`, {
        hint: "-e NAME=value",
      });
    values.set(entry.slice(0, at), entry.slice(at + 1));
  }
  return [...values].map(([name, value]) => `${name}=${value}`);
}

function fromOurs(word: string, inherited: Readonly<Record<string, string | undefined>>): string | undefined {
  if (word.includes("=") || word === "") return word === "" ? "=" : word;
  const value = inherited[word];
  return value === undefined ? undefined : `${word}=${value}`;
}
