/** completion: a shell's completion script, from the records. */

import { TripodError } from "../spec/errors.ts";
import type { Command, FlagRecord, Invocation } from "./command.ts";
import { commands } from "./commands.ts";
import { type CompletionOptions, globalFlags } from "./flags.ts";

export async function handle({ args, terminal }: Invocation<CompletionOptions>): Promise<number> {
  const [shell = ""] = args;
  if (shell !== "bash")
    throw new TripodError("usage", `there is no completion for ${JSON.stringify(shell.slice(0, 40))}`, {
      hint: "tripod completion bash",
    });
  terminal.write(bashCompletion(commands));
  return 0;
}

/** Commands, flags, choices of a flag; names of sandboxes and images are asked of `tripod` itself. */
export function bashCompletion(all: readonly Command[]): string {
  const names = all.map(({ name }) => name).join(" ");
  const cases = all.flatMap((command) => [
    `    ${command.name})`,
    `      flags="${[...command.flags, ...globalFlags].flatMap(flagWords).join(" ")}"`,
    `      words=${subjectsOf(command)}`,
    ...choiceCases(command.flags),
    "      ;;",
  ]);
  return `${[
    "# bash completion of tripod; made by `tripod completion bash`",
    "_tripod() {",
    '  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} flags="" words=""',
    "  COMPREPLY=()",
    '  if [ "$COMP_CWORD" = 1 ]; then',
    `    COMPREPLY=($(compgen -W "${names} --help --version" -- "$current"))`,
    "    return",
    "  fi",
    "  case ${COMP_WORDS[1]} in",
    ...cases,
    "  esac",
    "  case $current in -*) words=$flags ;; esac",
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    "complete -o default -F _tripod tripod",
  ].join("\n")}\n`;
}

const flagWords = (flag: FlagRecord): string[] => [
  `--${flag.name}`,
  ...(flag.short === undefined ? [] : [`-${flag.short}`]),
];

function subjectsOf(command: Command): string {
  const first = command.args[0]?.name;
  if (first === "SANDBOX" || first === "NAME")
    return '$(tripod ps -a -o json 2>/dev/null | sed -n \'s/^    "name": "\\(.*\\)",$/\\1/p\')';
  if (first === "IMAGE")
    return '$(tripod images -o json 2>/dev/null | sed -n \'s/^    "reference": "\\(.*\\)",$/\\1/p\')';
  return '""';
}

const choiceCases = (flags: readonly FlagRecord[]): string[] =>
  flags.flatMap((flag) =>
    flag.choices === undefined
      ? []
      : [
          `      case $before in ${flagWords(flag).join("|")}) COMPREPLY=($(compgen -W "${flag.choices.join(" ")}" -- "$current")); return ;; esac`,
        ],
  );
