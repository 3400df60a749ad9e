/** Verbs that take several sandboxes: each is done whatever becomes of the others. */

import type { Context } from "../lifecycle/context.ts";
import { type SandboxView, findSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { reportError } from "./cli.ts";
import type { Globals } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Finds and handles every sandbox, side by side, and prints what `act` returns for each, in the order of the names. Errors are told one by
 * one; the status is 0, or the first error's. With `passOver`, a name that nothing has is no error.
 */
export async function eachSandbox(
  context: Context,
  names: readonly string[],
  call: { readonly globals: Globals; readonly terminal: Terminal; readonly passOver?: boolean },
  act: (view: SandboxView, name: string) => Promise<string>,
): Promise<number> {
  const outcomes = await Promise.allSettled(
    [...new Set(names)].map(async (name) => {
      const view = await findSandbox(context, name).catch((error: unknown) => {
        if (call.passOver === true && error instanceof TripodError && error.code === "sandbox-not-found")
          return undefined;
        throw error;
      });
      return view === undefined ? undefined : await act(view, name);
    }),
  );
  let status = 0;
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") {
      const exit = reportError(outcome.reason, call.globals.debug, call.terminal);
      status = status === 0 ? exit : status;
    } else if (outcome.value !== undefined) call.terminal.write(`${outcome.value}\n`);
  }
  return status;
}
