/** What a command is: a record. Parsing, help, docs and completion all derive from it; its handler is loaded only when it is used. */

import type { Terminal } from "./terminal.ts";

/** One flag. Without `value` it is a switch. */
export interface FlagRecord {
  /** Long name without dashes; a switch called `no-…` is off by default like any other. */
  readonly name: string;
  readonly short?: string;
  /** Placeholder of the value in help, e.g. `SIZE`. */
  readonly value?: string;
  /** May be given several times. */
  readonly many?: true;
  readonly choices?: readonly string[];
  /** What holds when the flag is absent. */
  readonly fallback?: string;
  readonly help: string;
}

type Camel<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;

type FlagValue<Flag extends FlagRecord> = Flag extends { readonly value: string }
  ? Flag extends { readonly many: true }
    ? readonly string[]
    : | (Flag extends { readonly choices: readonly (infer Choice)[] } ? Choice : string)
      | (Flag extends { readonly fallback: string } ? never : undefined)
  : boolean;

/** The typed options of a list of flags: `dry-run` becomes `dryRun: boolean`, a flag with a value `string | undefined`. */
export type OptionsOf<Flags extends readonly FlagRecord[]> = {
  readonly [Flag in Flags[number] as Camel<Flag["name"]>]: FlagValue<Flag>;
};

export interface ArgumentRecord {
  /** As help shows it, e.g. `SANDBOX`. */
  readonly name: string;
  readonly optional?: true;
  /** Takes all that follow; only the last argument may. */
  readonly many?: true;
  readonly help: string;
}

export interface Example {
  readonly does: string;
  readonly command: string;
}

/** Flags that every command takes, before or after its name. */
export interface Globals {
  /** Directory for all state; default: the system's (`/run/tripod`, `/var/lib/tripod`). From `--root`, then `TRIPOD_ROOT`. */
  readonly root: string | undefined;
  /** Configuration file. From `--config`, then `TRIPOD_CONFIG`. */
  readonly config: string | undefined;
  readonly debug: boolean;
}

/** One call of a command, parsed. */
export interface Invocation<Options> {
  readonly args: readonly string[];
  readonly options: Options;
  readonly globals: Globals;
  readonly terminal: Terminal;
}

/** Carries a command out and returns its exit status. Throws `TripodError`s. */
export type Handler<Options> = (invocation: Invocation<Options>) => Promise<number>;

/** What a flag's parser found: by long name; a switch true, a value a string, a repeatable flag a list. */
export type RawOptions = ReadonlyMap<string, true | string | readonly string[]>;

/** A command as its readers see it, whatever its options. */
export interface Command {
  readonly name: string;
  readonly group: "sandbox" | "image" | "machine";
  readonly summary: string;
  /** Paragraphs of help after the usage line. */
  readonly details?: readonly string[];
  readonly args: readonly ArgumentRecord[];
  readonly flags: readonly FlagRecord[];
  readonly examples: readonly Example[];
  /** Whether everything after the first argument belongs to the workload and is not looked at. */
  readonly verbatim: boolean;
  readonly run: (invocation: Invocation<RawOptions>) => Promise<number>;
}

interface CommandDefinition<Flags extends readonly FlagRecord[]> extends Omit<
  Command,
  "flags" | "run" | "verbatim"
> {
  readonly flags: Flags;
  readonly verbatim?: true;
  readonly load: () => Promise<{ readonly handle: Handler<OptionsOf<Flags>> }>;
}

/** Makes a command of its definition; the compiler checks that the handler takes the options that the flags give. */
export function command<const Flags extends readonly FlagRecord[]>(
  definition: CommandDefinition<Flags>,
): Command {
  const { load, ...record } = definition;
  return {
    ...record,
    verbatim: definition.verbatim === true,
    run: async (invocation) => {
      const { handle } = await load();
      return handle({ ...invocation, options: readOptions(definition.flags, invocation.options) });
    },
  };
}

/** `dry-run` → `dryRun`. */
export const optionKey = (name: string): string =>
  name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());

/** The decoder of options: every flag gets a value of the type that `OptionsOf` promises. */
export function readOptions<Flags extends readonly FlagRecord[]>(
  flags: Flags,
  raw: RawOptions,
): OptionsOf<Flags> {
  const entries = flags.map((flag): [string, unknown] => {
    const given = raw.get(flag.name);
    const absent = flag.value === undefined ? false : flag.many === true ? [] : flag.fallback;
    return [optionKey(flag.name), given ?? absent];
  });
  return Object.fromEntries(entries) as OptionsOf<Flags>;
}
