/** Reading answers of servers that are not trusted: bounded, and fit for a message. */

import * as v from "valibot";
import { TripodError } from "../../spec/errors.ts";

const maxErrorBytes = 16 * 1024;

const errorsSchema = v.object({
  errors: v.array(v.object({ code: v.optional(v.string(), ""), message: v.optional(v.string(), "") })),
});

/** Reads a whole body. Throws `registry-failed` when it is larger. */
export async function readBounded(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  subject: string,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > maxBytes)
      throw new TripodError("registry-failed", `${subject} is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The registry's own words, bounded, without control characters. */
export async function errorText(body: AsyncIterable<Uint8Array>): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readBounded(body, maxErrorBytes, "error");
  } catch {
    return "";
  }
  const decoded = v.safeParse(errorsSchema, parseJson(bytes));
  if (!decoded.success) return "";
  const text = decoded.output.errors.map(({ code, message }) => `${code} ${message}`.trim()).join("; ");
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 300);
}

/** The value, or undefined for what is no JSON. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

/** Milliseconds of a Retry-After header, seconds or date; undefined without a sound one. */
export function readRetryAfter(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const ms = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

/** Where a partial answer begins. */
export function contentRangeStart(headers: Headers): number {
  const match = /^bytes ([0-9]{1,15})-/.exec(headers.get("content-range") ?? "");
  return match === null ? 0 : Number(match[1]);
}

/** undici hides the system's reason in `cause`. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}
