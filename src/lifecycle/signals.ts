/** The signal that an image wants to be stopped with. */

import { constants } from "node:os";
import { TripodError } from "../spec/errors.ts";

/** The range of the real-time signals, as the C library counts them. */
const firstRealtime = 34;
const lastRealtime = 64;

/**
 * An image's `StopSignal` as a number; undefined when it has none, so that the default holds. Throws `image-invalid` for one that does not exist: to stop it
 * with another would be a quiet change of what its author meant.
 */
export function stopSignalOf(text: string | undefined, image: string): number | undefined {
  if (text === undefined || text === "") return undefined;
  const signal = signalNumber(text);
  if (signal !== undefined) return signal;
  throw new TripodError("image-invalid", `${image}: its StopSignal ${JSON.stringify(text)} is no signal`, {
    hint: "build the image again with a StopSignal such as SIGTERM, or without one",
  });
}

function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text))
    return Number(text) >= 1 && Number(text) <= lastRealtime ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^(SIG)?/, "SIG");
  const [, from, offset = "0"] = /^SIGRT(MIN(?=\+|$)|MAX(?=-|$))(?:[+-](\d{1,2}))?$/.exec(name) ?? [];
  if (from !== undefined) {
    const number = from === "MIN" ? firstRealtime + Number(offset) : lastRealtime - Number(offset);
    return number >= firstRealtime && number <= lastRealtime ? number : undefined;
  }
  return Object.entries(constants.signals).find(([known]) => known === name)?.[1];
}
