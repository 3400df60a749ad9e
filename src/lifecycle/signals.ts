/** The signal that an image wants to be stopped with. */

import { constants } from "node:os";

/** An image's `StopSignal`; undefined when it is absent or not understood, so that the default holds. */
export const stopSignalOf = (text: string | undefined): number | undefined =>
  text === undefined ? undefined : signalNumber(text);

function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) return Number(text) >= 1 && Number(text) <= 64 ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^(SIG)?/, "SIG");
  const realtime = /^SIGRTMIN(?:\+(\d{1,2}))?$/.exec(name);
  if (realtime !== null)
    return 34 + Number(realtime[1] ?? 0) <= 64 ? 34 + Number(realtime[1] ?? 0) : undefined;
  return Object.entries(constants.signals).find(([known]) => known === name)?.[1];
}
