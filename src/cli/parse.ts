/** The command line, read by the records. Pure: what is to be done comes back as a value. */

import { TripodError } from "../spec/errors.ts";
import { nearest } from "../spec/nearest.ts";
import type { Command, FlagRecord, Globals, RawOptions } from "./command.ts";
import { globalFlags } from "./flags.ts";
import { commandHelp, programHelp, usageLine } from "./help.ts";
import { readWords } from "./words.ts";

export type Parsed =
  | { readonly do: "help"; readonly text: string }
  | { readonly do: "version" }
  | {
      readonly do: "call";
      readonly command: Command;
      readonly args: readonly string[];
      readonly options: RawOptions;
      readonly globals: Globals;
    };

const helpFlag: FlagRecord = { name: "help", short: "h", help: "print help" };
const versionFlag: FlagRecord = { name: "version", help: "print the version" };

/**
 * Reads `argv` (without program and script). Global flags may stand before or after the command's name; the latter win, and both win over
 * the environment. Throws `usage`.
 */
export function parse(
  argv: readonly string[],
  commands: readonly Command[],
  env: Readonly<Record<string, string | undefined>>,
): Parsed {
  // The whole line's first word that is no flag is the command; the rest is read by that command's own parser, the only one made.
  const outer = readWords(argv, [...globalFlags, versionFlag, helpFlag], {
    verbatim: true,
    hint: "tripod --help",
  });
  const [name, ...rest] = outer.args;
  if (outer.options.has("version")) return { do: "version" };
  if (name === undefined) return { do: "help", text: programHelp(commands) };
  if (name === "help" || outer.options.has("help")) {
    const topic = name === "help" ? rest[0] : name;
    if (topic === undefined) return { do: "help", text: programHelp(commands) };
    return { do: "help", text: commandHelp(findCommand(topic, commands)) };
  }
  const command = findCommand(name, commands);
  const hint = `tripod ${command.name} --help`;
  const inner = readWords(rest, [...command.flags, ...globalFlags, helpFlag], {
    verbatim: command.verbatim,
    hint,
  });
  if (inner.options.has("help")) return { do: "help", text: commandHelp(command) };
  checkCount(command, inner.args, hint);
  const globalText = (flag: string, variable: string): string | undefined => {
    const given = inner.options.get(flag) ?? outer.options.get(flag) ?? env[variable];
    // Nothing is not the default: an unset variable in a script must not reach the system's own state or another policy.
    if (given === "")
      throw new TripodError(
        "usage",
        `${inner.options.get(flag) === undefined && outer.options.get(flag) === undefined ? variable : `--${flag}`} is empty`,
        { hint: `give --${flag} a path, or leave out --${flag} and unset ${variable}` },
      );
    return typeof given === "string" ? given : undefined;
  };
  return {
    do: "call",
    command,
    args: inner.args,
    options: inner.options,
    globals: {
      root: globalText("root", "TRIPOD_ROOT"),
      config: globalText("config", "TRIPOD_CONFIG"),
      debug: inner.options.has("debug") || outer.options.has("debug"),
    },
  };
}

/** Whether `--debug` is among the flags, for errors that arise before or while the line is read. */
export const wantsDebug = (argv: readonly string[]): boolean => argv.includes("--debug");

function findCommand(name: string, commands: readonly Command[]): Command {
  const command = commands.find((candidate) => candidate.name === name);
  if (command !== undefined) return command;
  const near = nearest(
    name,
    commands.map((candidate) => candidate.name),
  );
  throw new TripodError("usage", `there is no command ${JSON.stringify(name.slice(0, 80))}`, {
    hint:
      near === undefined
        ? "tripod --help"
        : `did you mean \`tripod ${near}\`? tripod --help lists all commands`,
  });
}

function checkCount(command: Command, args: readonly string[], hint: string): void {
  const least = command.args.filter((argument) => argument.optional !== true).length;
  const most = command.args.some((argument) => argument.many === true) ? Infinity : command.args.length;
  const missing = command.args[args.length];
  if (args.length < least && missing !== undefined)
    throw new TripodError("usage", `${missing.name} is missing: ${usageLine(command)}`, { hint });
  const extra = args[most];
  if (args.length > most && extra !== undefined)
    throw new TripodError(
      "usage",
      `one argument too many, ${JSON.stringify(extra.slice(0, 80))}: ${usageLine(command)}`,
      {
        hint,
      },
    );
}
