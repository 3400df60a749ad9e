/** Ctrl-C, TERM and a terminal that is gone end a command in order: what is half done is undone first. */

import { constants } from "node:os";

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface Interruption {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** From now on a signal is `onSignal`'s, one that came already included, and the work's own status counts. */
  take(onSignal: () => void): void;
}

/**
 * Runs `work` and returns its status, or 128 + the signal's number when it was interrupted; a second signal ends us at once. There is no moment at
 * which a signal would find nobody.
 */
export async function interruptible(work: (interruption: Interruption) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  let status: number | undefined;
  let taker: (() => void) | undefined;
  const interrupt = (name: NodeJS.Signals): void => {
    if (taker !== undefined) return taker();
    if (status !== undefined) process.exit(status);
    status = 128 + constants.signals[name];
    controller.abort();
  };
  const take = (onSignal: () => void): void => {
    taker = onSignal;
    if (status !== undefined) onSignal();
    status = undefined;
  };
  for (const name of signals) process.on(name, interrupt);
  try {
    const own = await work({ signal: controller.signal, take });
    return status ?? own;
  } catch (error) {
    if (status !== undefined) return status;
    throw error;
  } finally {
    for (const name of signals) process.off(name, interrupt);
  }
}
