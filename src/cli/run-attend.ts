/** Stays with a sandbox in the foreground: passes signals and window sizes on, ends as it ends. Its bytes do not pass through here. */

import type { Running } from "../lifecycle/run.ts";
import type { Exit } from "../spec/protocol.ts";
import { TripodError } from "../spec/errors.ts";
import type { Interruption } from "./interrupt.ts";
import type { Terminal } from "./terminal.ts";

const kill = 9;
/** How long the warden may take to undo what it made once the workload has ended. */
const undoDeadlineMs = 60_000;

/**
 * Resolves with the workload's exit status when it has ended and what was made for it is undone. Our own terminal passes every key on as it is only when the
 * workload reads them (`interactive`): otherwise Ctrl-C stays a signal, which nobody else would heed.
 */
export async function attend(
  { file, warden }: Running,
  terminal: Terminal,
  { take }: Interruption,
  { interactive }: { readonly interactive: boolean },
): Promise<number> {
  let asked = 0;
  const onSignal = (): void => {
    asked += 1;
    // A refusal means that it has ended already: the exit is on its way.
    if (asked === 1) warden.stop().catch(() => {});
    else warden.signal(kill).catch(() => {});
  };
  const onResize = (): void => {
    warden.resize(process.stdout.rows, process.stdout.columns).catch(() => {});
  };
  const raw = interactive && file.terminal && terminal.inputIsTerminal;
  take(onSignal);
  if (file.terminal && terminal.isTerminal) process.stdout.on("resize", onResize);
  if (raw) process.stdin.setRawMode(true);
  try {
    const exit = await endOf(warden, file.name);
    // It still undoes: what we leave behind when we return is nothing.
    await Promise.race([
      warden.closed(),
      new Promise((resolve) => setTimeout(resolve, undoDeadlineMs).unref()),
    ]);
    return exit.exitCode;
  } finally {
    if (raw) process.stdin.setRawMode(false);
    process.stdout.off("resize", onResize);
  }
}

async function endOf(warden: Running["warden"], name: string): Promise<Exit> {
  try {
    return await warden.exited();
  } catch (error) {
    if (error instanceof TripodError && error.code === "warden-gone")
      throw new TripodError("warden-gone", `${name}: its warden was killed`, {
        cause: error,
        hint: `tripod rm -f ${name} ends what is left of it`,
      });
    throw error;
  }
}
