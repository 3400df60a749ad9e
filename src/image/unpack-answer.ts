/** What `tripod-warden unpack` answers: one JSON line on standard output. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as v from "valibot";
import { type ErrorCode, TripodError } from "../spec/errors.ts";

const maxAnswerBytes = 64 * 1024;

/** It unpacked; or it refused, in its own words; or it ended without a word. */
export type UnpackAnswer =
  | { readonly entries: number; readonly bytes: number }
  | { readonly refusal: TripodError }
  | { readonly silence: TripodError };

const answerSchema = v.union([
  v.object({ ok: v.object({ entries: v.number(), bytes: v.number() }) }),
  v.object({ error: v.object({ code: v.string(), message: v.string() }) }),
]);

/** Waits for the answer and the end of the program; never rejects. */
export async function readUnpackAnswer(child: ChildProcess, subject: string): Promise<UnpackAnswer> {
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  let ending: string;
  try {
    const [code, signal] = await once(child, "close");
    ending = signal === null ? `status ${String(code)}` : String(signal);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return {
      silence: new TripodError("setup-missing", `the unpacker could not be started: ${why}`, { cause }),
    };
  }
  const answer = v.safeParse(answerSchema, parseJson(stdout()));
  if (!answer.success) {
    const said = stderr().trim().slice(-500);
    const tail = said === "" ? "" : `; it said: ${said}`;
    return {
      silence: new TripodError("warden-gone", `${subject}: the unpacker ended with ${ending}${tail}`),
    };
  }
  if ("ok" in answer.output) return answer.output.ok;
  const { code, message } = answer.output.error;
  return { refusal: new TripodError(codeOf(code), `${subject}: ${message}`, hintOf(code)) };
}

const codes: Readonly<Record<string, ErrorCode>> = {
  "image-unsafe": "image-unsafe",
  "image-invalid": "image-invalid",
  "image-corrupt": "image-corrupt",
  "disk-full": "disk-full",
  "state-unwritable": "state-unwritable",
  "not-root": "not-root",
};

const codeOf = (code: string): ErrorCode =>
  (Object.hasOwn(codes, code) ? codes[code] : undefined) ?? "step-failed";

const hintOf = (code: string): { readonly hint?: string } =>
  code === "image-unsafe"
    ? { hint: "do not run this image; ask who built it" }
    : code === "disk-full"
      ? { hint: "make room on the disk, e.g. tripod rmi IMAGE" }
      : {};

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream?.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes <= maxAnswerBytes) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
