/** exec: another program in a container. */

import { execInSandbox } from "../lifecycle/exec.ts";
import { findSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { present } from "../spec/present.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { environmentEntries } from "./environment.ts";
import type { ExecOptions } from "./flags.ts";

/** Returns the program's own exit status. */
export async function handle({ args, options, globals, terminal }: Invocation<ExecOptions>): Promise<number> {
  const [name = "", ...argv] = args;
  if (options.tty && !terminal.inputIsTerminal)
    throw new TripodError("usage", "--tty needs standard input to be a terminal", { hint: "leave -t out" });
  const context = await openContext(globals);
  const view = await findSandbox(context, name);
  return execInSandbox(view, {
    argv,
    env: environmentEntries(options.env, process.env),
    tty: options.tty,
    interactive: options.interactive,
    ...present({ user: options.user, cwd: options.workdir }),
  });
}
