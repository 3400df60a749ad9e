/** Help, from the records. */

import type { ArgumentRecord, Command, FlagRecord } from "./command.ts";
import { globalFlags } from "./flags.ts";

const indent = "  ";
const width = 100;

/** `tripod run [FLAG…] IMAGE [ARG…]` */
export function usageLine(command: Command): string {
  const flags = command.flags.length === 0 ? [] : ["[FLAG…]"];
  return ["tripod", command.name, ...flags, ...command.args.map(argumentForm)].join(" ");
}

function argumentForm(argument: ArgumentRecord): string {
  const name = argument.many === true ? `${argument.name}…` : argument.name;
  return argument.optional === true ? `[${name}]` : name;
}

/** `-m, --memory SIZE` */
export function flagForm(flag: FlagRecord): string {
  const short = flag.short === undefined ? "    " : `-${flag.short}, `;
  const value = flag.value === undefined ? "" : ` ${flag.value}`;
  return `${short}--${flag.name}${value}`;
}

/** What a flag does, its choices and default. */
export function flagHelp(flag: FlagRecord): string {
  const choices = flag.choices === undefined ? "" : `: ${flag.choices.join(", ")}`;
  const fallback = flag.fallback === undefined ? "" : ` (default ${flag.fallback})`;
  const many = flag.many === true ? "; may be repeated" : "";
  return `${flag.help}${choices}${many}${fallback}`;
}

/** The help of one command. */
export function commandHelp(command: Command): string {
  const sections = [
    [`Usage: ${usageLine(command)}`],
    [command.summary],
    ...(command.details ?? []).map((paragraph) => wrap(paragraph, width)),
    ...(command.args.length === 0
      ? []
      : [
          list(
            "Arguments:",
            command.args.map((a) => [argumentForm(a), a.help]),
          ),
        ]),
    ...(command.flags.length === 0
      ? []
      : [
          list(
            "Flags:",
            command.flags.map((f) => [flagForm(f), flagHelp(f)]),
          ),
        ]),
    [
      "Examples:",
      ...command.examples.flatMap(({ does, command: line }) => [`${indent}# ${does}`, `${indent}${line}`]),
    ],
    ["Flags of every command: tripod --help"],
  ];
  return sections.map((lines) => `${lines.join("\n")}\n`).join("\n");
}

const groups = { sandbox: "Sandboxes:", image: "Images:", machine: "This machine:" } as const;

/** The help of the whole program. */
export function programHelp(commands: readonly Command[]): string {
  const flags: readonly FlagRecord[] = [
    ...globalFlags,
    { name: "version", help: "print the version" },
    { name: "help", short: "h", help: "print this, or after a command its help" },
  ];
  const sections = [
    ["Usage: tripod [FLAG…] COMMAND …"],
    ["Runs one OCI image as a container or as a unikernel, whichever suits this machine best."],
    ...(["sandbox", "image", "machine"] as const).map((group) =>
      list(
        groups[group],
        commands.filter((command) => command.group === group).map(({ name, summary }) => [name, summary]),
      ),
    ),
    list(
      "Flags:",
      flags.map((flag) => [flagForm(flag), flagHelp(flag)]),
    ),
    [
      "Examples:",
      `${indent}# Run the example by the best mode of this machine`,
      `${indent}tripod run httpreply`,
      `${indent}# Why it is run so, and what else it could have been`,
      `${indent}tripod explain httpreply`,
      `${indent}# What this machine can do`,
      `${indent}tripod check`,
    ],
  ];
  return sections.map((lines) => `${lines.join("\n")}\n`).join("\n");
}

/** A titled list of two columns; the second is wrapped. A first column that is too wide has a line of its own. */
function list(title: string, entries: readonly (readonly [string, string])[]): string[] {
  const column = Math.min(30, Math.max(...entries.map(([form]) => form.length))) + 2;
  const lines = entries.flatMap(([form, help]) => {
    const [first = "", ...rest] = wrap(help, width - column - indent.length);
    const margin = indent + " ".repeat(column);
    return form.length + 2 > column
      ? [indent + form, margin + first, ...rest.map((line) => margin + line)]
      : [indent + form.padEnd(column) + first, ...rest.map((line) => margin + line)];
  });
  return [title, ...lines];
}

/** Breaks a text at blanks into lines of at most `columns` characters; a longer word stands alone. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
