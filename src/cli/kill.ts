/** kill: sends a signal. */

import { constants } from "node:os";
import { killSandbox } from "../lifecycle/signal.ts";
import { TripodError } from "../spec/errors.ts";
import { nearest } from "../spec/nearest.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { eachSandbox } from "./each-sandbox.ts";
import type { KillOptions } from "./flags.ts";

/** Prints the name of each sandbox that was sent the signal. */
export async function handle({ args, options, globals, terminal }: Invocation<KillOptions>): Promise<number> {
  const signal = parseSignal(options.signal);
  const context = await openContext(globals);
  return eachSandbox(context, args, { globals, terminal }, async (view, name) => {
    await killSandbox(view, signal);
    return name;
  });
}

/** `TERM`, `SIGTERM`, `term` or `15`; Linux has 1 to 64. Throws `usage`. */
export function parseSignal(text: string): number {
  if (/^\d{1,3}$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= 64) return number;
  }
  const wanted = `SIG${text.toUpperCase().replace(/^SIG/, "")}`;
  const names = Object.entries(constants.signals);
  const found = names.find(([name]) => name === wanted);
  if (found !== undefined) return found[1];
  const near = nearest(
    wanted,
    names.map(([name]) => name),
  );
  throw new TripodError("usage", `${JSON.stringify(text.slice(0, 40))} is no signal`, {
    hint: near === undefined ? "kill -l lists them" : `did you mean ${near.slice(3)}?`,
  });
}
