/** exec: another program in a container. */

import { execInSandbox } from "../lifecycle/exec.ts";
import { findSandbox } from "../lifecycle/store.ts";
import { TripodError } from "../spec/errors.ts";
import { present } from "../spec/present.ts";
import type { Invocation } from "./command.ts";
import { openContext } from "./context.ts";
import { environmentEntries } from "./environment.ts";
import type { ExecOptions } from "./flags.ts";
import { withKeySignals } from "./key-signals.ts";

/** Returns the program's own exit status. */
export async function handle({ args, options, globals, terminal }: Invocation<ExecOptions>): Promise<number> {
  const [name = "", ...argv] = args;
  if (options.tty && !terminal.inputIsTerminal)
    throw new TripodError("usage", "--tty needs standard input to be a terminal", { hint: "leave -t out" });
  const context = await openContext(globals);
  const view = await findSandbox(context, name);
  const work = (): Promise<number> =>
    execInSandbox(view, {
      argv,
      env: environmentEntries(options.env, process.env),
      tty: options.tty,
      interactive: options.interactive,
      ...present({ user: options.user, cwd: options.workdir }),
    });
  if (!options.tty || options.interactive) return work();
  // The runtime makes the terminal raw but reads no key. To our process group, as the terminal would: the runtime is in it.
  let sent: number | undefined;
  const send = (signal: number): void => {
    sent = signal;
    process.kill(0, signal);
  };
  const status = await withKeySignals(process.stdin, send, work);
  // runc with a terminal hangs it up when it is interrupted, and calls that a success.
  return status === 0 && sent !== undefined ? 128 + sent : status;
}
