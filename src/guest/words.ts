/** Words of a boot line, spelled so that the guest's own parser gives them back as they were. What it could not give back is refused, never changed. */

import { TripodError } from "../spec/errors.ts";

/** What a guest's parser makes of a line that has no such word; `what` names the argument or variable. */
export const unsayable = (what: string, why: string): TripodError =>
  new TripodError("usage", `${what} ${why}`, {
    hint: "change or leave out that value, or run the image with --mode container",
  });

/** Names of arguments (from 1, as on the command line) and of variables in messages. */
export const argumentName = (index: number): string => `argument ${index + 1}`;
export const variableName = (entry: string): string =>
  `the variable ${JSON.stringify((entry.split("=")[0] ?? "").slice(0, 80))}`;

/** No boot line carries control characters, nor half a character. Throws `usage`. */
export function checkText(value: string, what: string): void {
  const control = [...value].find(
    (character) => character < " " || character === "\u007f" || /^[\ud800-\udfff]$/.test(character),
  );
  if (control !== undefined)
    throw unsayable(
      what,
      `has the character U+${(control.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}, which a guest's boot line cannot carry`,
    );
}

/** Characters that no parser of ours takes for anything but themselves. */
const plain = /^[A-Za-z0-9_@%+=:,./-]+$/;

/**
 * As a POSIX shell quotes: in single quotes, a single quote itself in double ones. Parsers that join quoted pieces without blanks between
 * them read it, whatever they make of backslashes, since none stands outside of single quotes. Throws `usage` for what `checkText` refuses.
 */
export function quoted(value: string, what: string): string {
  checkText(value, what);
  return plain.test(value) ? value : `'${value.replaceAll("'", `'"'"'`)}'`;
}

/** As `quoted`, for parsers that drop an empty word. */
export function quotedNotEmpty(value: string, what: string): string {
  if (value === "") throw unsayable(what, "is empty, which this guest's boot line cannot carry");
  return quoted(value, what);
}
