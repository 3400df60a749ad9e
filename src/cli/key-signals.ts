/** The signals of a terminal's keys, where a runtime has made our terminal raw although nobody reads what is typed there. */

import { constants } from "node:os";
import type { Readable } from "node:stream";

/** Ctrl-C and Ctrl-\, as a raw terminal gives them. */
const signalOf: ReadonlyMap<number, number> = new Map([
  [0x03, constants.signals.SIGINT],
  [0x1c, constants.signals.SIGQUIT],
]);

/** Calls `send` for each key that a terminal which is not raw would make a signal of, until `work` has ended; all other keys are nobody's. */
export async function withKeySignals<T>(
  input: Readable,
  send: (signal: number) => void,
  work: () => Promise<T>,
): Promise<T> {
  const onData = (bytes: Buffer): void => {
    for (const byte of bytes) {
      const signal = signalOf.get(byte);
      if (signal !== undefined) send(signal);
    }
  };
  input.on("data", onData);
  try {
    return await work();
  } finally {
    input.off("data", onData);
    input.pause();
  }
}
