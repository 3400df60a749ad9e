/** logs: what a sandbox wrote. */

import { findSandbox, viewSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { parseDuration } from "../spec/units.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import type { LogsOptions } from "./flags.ts";
import { type LogEntry, lastLines, logDecoder } from "./log-decode.ts";
import { readLog } from "./log-files.ts";
import type { Terminal } from "./terminal.ts";

/** stdout's lines go to stdout, stderr's to stderr, byte for byte. */
export async function handle({ args, options, globals, terminal }: Invocation<LogsOptions>): Promise<number> {
  const [name = ""] = args;
  const tail = parseTail(options.tail);
  const since = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  const context = await openContext(globals);
  const view = await findSandbox(context, name);
  const hasEnded = async (): Promise<boolean> => {
    const now = await viewSandbox(context, view.file.id);
    return now === undefined || now.status === "stopped" || now.status === "dead";
  };
  const decoder = logDecoder();
  const print = printer(terminal, options.timestamps);
  let last = tail === undefined ? undefined : lastLines(tail);
  for await (const chunk of readLog(view.dir, { follow: options.follow, hasEnded })) {
    for (const entry of decoder.push(chunk)) {
      if (since !== undefined && Date.parse(entry.time) < since) continue;
      if (last === undefined) print(entry);
      else last.push(entry);
    }
    // The end of what was there: from here on everything is new.
    if (chunk.length === 0) {
      last?.take().forEach(print);
      last = undefined;
    }
    await terminal.flush();
  }
  last?.take().forEach(print);
  if (decoder.damaged() > 0)
    terminal.note(`tripod: ${decoder.damaged()} damaged lines of the log were left out`);
  return 0;
}

/** `all`, or a number of lines. Throws `usage`. */
export function parseTail(text: string): number | undefined {
  if (text === "all") return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new TripodError("usage", `--tail: ${JSON.stringify(text.slice(0, 40))} is no number of lines`, {
    hint: "--tail 10, or --tail all",
  });
}

/** Milliseconds since 1970 of an RFC 3339 time, of a date, or of a duration before `now`. Throws `usage`. */
export function parseSince(text: string, now: number): number {
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const time = Date.parse(text);
    if (!Number.isNaN(time)) return time;
    throw new TripodError("usage", `--since: ${JSON.stringify(text.slice(0, 60))} is no time`, {
      hint: "--since 2026-01-31T12:00:00Z, or --since 10m",
    });
  }
  return now - parseDuration(text, "--since");
}

/** Prints entries; a line's pieces have one timestamp and one newline. */
export function printer(terminal: Terminal, timestamps: boolean): (entry: LogEntry) => void {
  const goesOn = { stdout: false, stderr: false };
  return ({ stream, time, content, partial }) => {
    const start = timestamps && !goesOn[stream] ? `${time} ` : "";
    const bytes = Buffer.concat([Buffer.from(start), content, Buffer.from(partial ? "" : "\n")]);
    if (stream === "stdout") terminal.write(bytes);
    else terminal.writeError(bytes);
    goesOn[stream] = partial;
  };
}
