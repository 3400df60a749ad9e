/**
 * Words of Linux's command line. The kernel splits it at blanks outside of double quotes, and takes quotes away at a word's beginning and end and
 * around a value; it knows no escapes (lib/cmdline.c). After `--` every word is an argument of the first process, up to another `--`.
 */

import { checkText, unsayable } from "../words.ts";

/** Bytes that the kernel takes for blanks: the ASCII ones, and 0xa0 of Latin-1, which is also a part of many characters of UTF-8. */
const hasBlank = (value: string): boolean => / /.test(value) || Buffer.from(value).includes(0xa0);

/** The word as the kernel gives it back. Throws `usage` for what it would change. */
export function kernelWord(value: string, what: string): string {
  checkText(value, what);
  if (value === "--") throw unsayable(what, "is --, at which Linux stops reading arguments");
  const quotes = value.split('"').length - 1;
  if (value === "" || hasBlank(value)) {
    if (quotes > 0)
      throw unsayable(what, "has blanks and double quotes, of which Linux's command line carries only one");
    return `"${value}"`;
  }
  // A quote within a word opens, and the next one closes: in pairs they stay as they are, but not where the kernel takes them away.
  if (quotes % 2 === 1)
    throw unsayable(what, "has an odd number of double quotes, which Linux's command line cannot carry");
  if (value.startsWith('"') || /^.[^=]*="/.test(value))
    throw unsayable(what, "begins or has its value begin with a double quote, which Linux takes away");
  return value;
}
