/** One call of `tripod`: parse, carry out, tell what went wrong. */

import { TripodError } from "../spec/errors.ts";
import type { Command } from "./command.ts";
import { parse, wantsDebug } from "./parse.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Runs a command line and returns the exit status: the handler's, or the error's by the table in `spec/errors.ts`. Never throws. What goes
 * wrong is told on stderr as `tripod: <message>` and, where there is a remedy, `hint: <remedy>`.
 */
export async function runCommandLine(
  argv: readonly string[],
  commands: readonly Command[],
  env: Readonly<Record<string, string | undefined>>,
  terminal: Terminal,
): Promise<number> {
  // Until the line is read: a workload's own `--debug` is not ours.
  let debug = wantsDebug(argv);
  try {
    const parsed = parse(argv, commands, env);
    debug = parsed.do === "call" && parsed.globals.debug;
    switch (parsed.do) {
      case "help":
        terminal.write(parsed.text);
        return 0;
      case "version":
        return await runCommandLine(["version"], commands, env, terminal);
      case "call":
        return await parsed.command.run({
          args: parsed.args,
          options: parsed.options,
          globals: parsed.globals,
          terminal,
        });
    }
  } catch (error) {
    return reportError(error, debug, terminal);
  }
}

/** Tells an error and returns its exit status. An error of no known kind is a bug of ours, and says so. */
export function reportError(error: unknown, debug: boolean, terminal: Terminal): number {
  const known =
    error instanceof TripodError
      ? error
      : new TripodError("bug", `unexpected: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
          hint: "please report it, with what --debug prints",
        });
  terminal.note(`tripod: ${known.message}`);
  terminal.note(`hint: ${known.hint}`);
  if (debug) for (const line of stackLines(known)) terminal.note(line);
  return known.exit;
}

function stackLines(error: unknown): string[] {
  const lines: string[] = [];
  let current: unknown = error;
  // Causes may be nested; a loop of them must not be.
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    const code = current instanceof TripodError ? ` [${current.code}]` : "";
    lines.push(`${depth === 0 ? "debug" : "caused by"}${code}: ${current.stack ?? current.message}`);
    current = current.cause;
  }
  return lines.flatMap((line) => line.split("\n"));
}
