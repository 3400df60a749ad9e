/**
 * How guests read their boot lines, for tests: what comes out of these must be what went into the drivers. Each after what the guest's own source does, on bytes
 * (as Latin-1 text) where the guest looks at bytes.
 */

const isBlank = (character: string): boolean => /[ \t\n\v\f\r]/.test(character);

const isSpace = (character: string): boolean => isBlank(character) || character === "\u00a0";

/** Linux, `next_arg` of lib/cmdline.c and the repair of `name=value` words: 0xa0 is a blank too. */
export function linuxWords(line: string): readonly string[] {
  const bytes = Buffer.from(line).toString("latin1");
  const words: string[] = [];
  let at = 0;
  while (at < bytes.length && isSpace(bytes[at] ?? "")) at++;
  while (at < bytes.length) {
    const isQuoted = bytes[at] === '"';
    let isInside = isQuoted;
    if (isQuoted) at++;
    const begin = at;
    let equals = 0;
    for (; at < bytes.length && (isInside || !isSpace(bytes[at] ?? "")); at++) {
      if (bytes[at] === "=" && equals === 0) equals = at - begin;
      if (bytes[at] === '"') isInside = !isInside;
    }
    let word = bytes.slice(begin, at);
    const ends = word.endsWith('"');
    if (equals > 0 && word[equals + 1] === '"') {
      const value = word.slice(equals + 2);
      word = `${word.slice(0, equals + 1)}${value.endsWith('"') ? value.slice(0, -1) : value}`;
    } else if (isQuoted && ends) word = word.slice(0, -1);
    words.push(Buffer.from(word, "latin1").toString());
    at++;
    while (at < bytes.length && isSpace(bytes[at] ?? "")) at++;
  }
  return words;
}

/** What Linux gives to its first process as arguments: it stops at a second `--`, quoted or not. */
export function linuxArguments(line: string): readonly string[] {
  const words = linuxWords(line);
  const begin = words.indexOf("--");
  const end = words.indexOf("--", begin + 1);
  return begin < 0 ? [] : words.slice(begin + 1, end < 0 ? undefined : end);
}

/** Unikraft's `uk_argnparse`: quotes of both kinds; newer ones take backslashes too, but not in single quotes. */
export function unikraftWords(line: string, knowsBackslash: boolean): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote === "" && isBlank(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (knowsBackslash && character === "\\" && quote !== "'") {
      const next = line[++at] ?? "";
      word = (word ?? "") + (quote === "" || next === '"' || next === "\\" ? next : `\\${next}`);
    } else if (quote === "" && (character === "'" || character === '"')) quote = character;
    else if (character === quote) quote = "";
    else word = (word ?? "") + character;
  }
  return word === undefined ? words : [...words, word];
}

/** MirageOS's parse-argv: quotes, backslashes but in single quotes; empty words are dropped. */
export function mirageWords(line: string): readonly string[] {
  const words: string[] = [];
  let word = "";
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote === "" && isBlank(character)) {
      words.push(word);
      word = "";
    } else if (quote !== "'" && character === "\\") word += line[++at] ?? "";
    else if (quote === "" && (character === "'" || character === '"')) quote = character;
    else if (character === quote) quote = "";
    else word += character;
  }
  return [...words, word].filter((each) => each !== "");
}

/** A POSIX shell's words, as Hermit splits its line; `#` at a word's beginning begins a comment. */
export function shellWords(line: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote === "" && isBlank(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (quote === "" && word === undefined && character === "#") break;
    else if (quote !== "'" && character === "\\") word = (word ?? "") + (line[++at] ?? "");
    else if (quote === "" && (character === "'" || character === '"')) {
      quote = character;
      word ??= "";
    } else if (character === quote) quote = "";
    else word = (word ?? "") + character;
  }
  return word === undefined ? words : [...words, word];
}

/** Rumprun's `rumprun_parseargs`: a backslash takes the next character as it is everywhere; a quote within the other kind ends that. */
export function rumprunWords(line: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? "";
    if (quote === "" && /[ \n\t]/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    word ??= "";
    if (character === "\\") word += line[++at] ?? "";
    else if (quote !== "" && character === quote) quote = "";
    else if (character === "'" || character === '"') quote = character;
    else word += character;
  }
  return word === undefined ? words : [...words, word];
}
