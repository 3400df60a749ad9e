/** Answers in the format that was asked for. JSON and YAML hold the same document; tables are for people. */

import type { Terminal } from "./terminal.ts";

export type OutputFormat = "table" | "json" | "yaml";

/** Prints `document` as JSON or YAML, or the table of `asTable`. */
export async function printAnswer(
  terminal: Terminal,
  format: string,
  document: unknown,
  asTable: () => string,
): Promise<void> {
  if (format === "json") terminal.write(`${JSON.stringify(document, undefined, 2)}\n`);
  else if (format === "yaml") {
    const { stringify } = await import("yaml");
    // Through JSON first: undefined members vanish in both formats alike.
    terminal.write(stringify(JSON.parse(JSON.stringify(document)), { lineWidth: 0 }));
  } else terminal.write(asTable());
}

/** Prints one line for each value. */
export function printLines(terminal: Terminal, lines: readonly string[]): void {
  terminal.write(lines.map((line) => `${line}\n`).join(""));
}
