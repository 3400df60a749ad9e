/** Ctrl-C and TERM end a transfer in order: what is half written goes first. */

import { constants } from "node:os";

/**
 * Runs `work` with a signal that SIGINT and SIGTERM abort. Returns its status, or 128 + the signal's number when it was ended so; a second
 * signal ends us at once.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<number>): Promise<number> {
  const controller = new AbortController();
  let status: number | undefined;
  const interrupt = (name: NodeJS.Signals): void => {
    if (status !== undefined) process.exit(status);
    status = 128 + constants.signals[name];
    controller.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  try {
    const own = await work(controller.signal);
    return status ?? own;
  } catch (error) {
    if (status !== undefined) return status;
    throw error;
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
  }
}
