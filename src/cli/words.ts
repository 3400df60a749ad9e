/**
 * Reads flags and arguments by the records, as getopt_long and docker do: `--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-it` for
 * switches, `--` before the arguments. Our own because a library for it costs more at every start than all the rest of the front: the
 * known ones load child processes, streams and the terminal to print help that we print ourselves.
 */

import { TripodError } from "../spec/errors.ts";
import { nearest } from "../spec/nearest.ts";
import type { FlagRecord, RawOptions } from "./command.ts";

export interface Words {
  readonly args: readonly string[];
  readonly options: RawOptions;
}

export interface WordRules {
  /** The first argument ends the flags: all that follows it is an argument, `--` too. */
  readonly verbatim: boolean;
  /** The remedy of errors. */
  readonly hint: string;
}

/** A flag that is given several times has its last value, unless it is a list. Throws `usage`. */
export function readWords(words: readonly string[], flags: readonly FlagRecord[], rules: WordRules): Words {
  const options = new Map<string, true | string | readonly string[]>();
  const args: string[] = [];
  const refuse = (message: string, hint = rules.hint): TripodError =>
    new TripodError("usage", message, { hint });

  const set = (flag: FlagRecord, form: string, value: string | undefined): void => {
    if (value === undefined) {
      options.set(flag.name, true);
      return;
    }
    if (flag.choices !== undefined && !flag.choices.includes(value))
      throw refuse(`${form} ${quoted(value)} is not one of ${flag.choices.join(", ")}`);
    const before = options.get(flag.name);
    options.set(flag.name, flag.many === true ? [...(Array.isArray(before) ? before : []), value] : value);
  };
  let at = 0;
  const valueOf = (flag: FlagRecord, form: string, attached: string | undefined): string | undefined => {
    if (flag.value === undefined) {
      if (attached !== undefined) throw refuse(`${form} takes no value, not ${quoted(attached)}`);
      return undefined;
    }
    if (attached !== undefined) return attached;
    at += 1;
    const next = words[at];
    if (next === undefined) throw refuse(`${form} wants a value, ${flag.value}`);
    return next;
  };

  const readLong = (word: string): void => {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const flag = flags.find((candidate) => candidate.name === name);
    if (flag === undefined) throw unknownFlag(`--${name}`, flags, rules.hint);
    set(flag, `--${name}`, valueOf(flag, `--${name}`, equals < 0 ? undefined : word.slice(equals + 1)));
  };
  const readShort = (word: string): void => {
    // `-itm64m`: switches, until one takes the rest as its value.
    for (let letter = 1; letter < word.length; letter++) {
      const form = `-${word[letter] ?? ""}`;
      const flag = flags.find(({ short }) => short === word[letter]);
      if (flag === undefined) throw unknownFlag(form, flags, rules.hint);
      if (flag.value === undefined) {
        set(flag, form, undefined);
        continue;
      }
      const rest = word.slice(letter + 1);
      set(flag, form, valueOf(flag, form, rest === "" ? undefined : rest.replace(/^=/, "")));
      return;
    }
  };

  for (; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") {
      args.push(...words.slice(at + 1));
      break;
    }
    if (word.startsWith("--")) readLong(word);
    else if (word.startsWith("-") && word !== "-") readShort(word);
    else {
      args.push(word);
      if (!rules.verbatim) continue;
      args.push(...words.slice(at + 1));
      break;
    }
  }
  return { args, options };
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));

function unknownFlag(form: string, flags: readonly FlagRecord[], hint: string): TripodError {
  const near = form.startsWith("--")
    ? nearest(
        form.slice(2),
        flags.map(({ name }) => name),
      )
    : undefined;
  const shown = form.slice(0, 80);
  return new TripodError("usage", `there is no flag ${shown}`, {
    hint: near === undefined ? hint : `did you mean --${near}? ${hint}`,
  });
}
