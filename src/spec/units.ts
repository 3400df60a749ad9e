/**
 * Amounts as people write them. Sizes are binary throughout, as docker reads them: `64m`, `64M`, `64Mi` and `64MiB` are all 64 × 2^20 bytes;
 * a bare number is bytes.
 */

import { TripodError } from "./errors.ts";

const powers: Readonly<Record<string, number>> = { "": 0, k: 1, m: 2, g: 3, t: 4 };
const sizePattern =
  /^(\d{1,16})(?:\.(\d{1,6}))?\s?([kmgt]?)(?:i?b)?$|^(\d{1,16})(?:\.(\d{1,6}))?\s?([kmgt])i$/i;

/**
 * Bytes of a size such as `512`, `64m`, `1.5Gi`; whole bytes, rounded down. Throws `memory-invalid` naming `what`
 * (a flag or key) when it is malformed or not exactly representable.
 */
export function parseSize(text: string, what: string): number {
  const match = sizePattern.exec(text.trim());
  const [whole, fraction, unit] =
    match?.[1] === undefined ? [match?.[4], match?.[5], match?.[6]] : [match[1], match[2], match[3]];
  const power = powers[(unit ?? "").toLowerCase()];
  if (whole === undefined || power === undefined || (fraction !== undefined && power === 0))
    throw malformed(text, what, "a number with k, m, g or t, e.g. 64m or 1.5Gi");
  const scale = 1024 ** power;
  const bytes = Number(whole) * scale + Math.floor(Number(`0.${fraction ?? "0"}`) * scale);
  if (!Number.isSafeInteger(bytes)) throw malformed(text, what, "less than 8 PiB");
  return bytes;
}

/** As `parseSize`, at least `min` bytes (default 1). */
export function parseMemory(text: string, what: string, min = 1): number {
  const bytes = parseSize(text, what);
  if (bytes < min) throw malformed(text, what, `at least ${formatBytes(min)}`);
  return bytes;
}

const malformed = (text: string, what: string, wanted: string): TripodError =>
  new TripodError("memory-invalid", `${what}: ${JSON.stringify(text.slice(0, 60))} is not ${wanted}`, {
    hint: `${what} 64m`,
  });

/** CPUs as docker's `--cpus`: a decimal fraction above 0, at most `max` (default 1024), to a thousandth. Throws `usage`. */
export function parseCpus(text: string, what: string, max = 1024): number {
  const cpus = /^\d{1,4}(\.\d{1,9})?$|^\.\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  // The kernel's smallest quota is 1 ms of a period of 100 ms.
  if (Number.isNaN(cpus) || cpus < 0.01 || cpus > max)
    throw new TripodError(
      "usage",
      `${what}: ${JSON.stringify(text.slice(0, 60))} is not a number of CPUs from 0.01 to ${max}`,
    );
  return Math.round(cpus * 1000) / 1000;
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration: `10` (seconds, as docker's `stop -t`), `500ms`, `1m30s`, `2h`. Throws `usage`. */
export function parseDuration(text: string, what: string): number {
  if (/^\d{1,9}(\.\d{1,3})?$/.test(text)) return Math.round(Number(text) * 1000);
  const parts = /^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h)){1,4}$/.test(text)
    ? text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)
    : undefined;
  if (parts === undefined)
    throw new TripodError("usage", `${what}: ${JSON.stringify(text.slice(0, 60))} is not a duration`, {
      hint: `${what} 500ms, ${what} 10s or ${what} 1m30s`,
    });
  let ms = 0;
  for (const [, amount, unit] of parts) ms += Number(amount) * (durationUnits[unit ?? ""] ?? 0);
  return Math.round(ms);
}

const steps = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** Bytes for people, three digits: `512 B`, `64 MiB`, `1.5 GiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < steps.length - 1) {
    value /= 1024;
    step += 1;
  }
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${Number(value.toFixed(digits))} ${steps[step] ?? "B"}`;
}

/** Bytes so that `parseSize` reads the same number back: `64Mi`, `1536Mi`, `1000`. */
export function exactSize(bytes: number): string {
  for (const [power, suffix] of [
    [4, "Ti"],
    [3, "Gi"],
    [2, "Mi"],
    [1, "Ki"],
  ] as const)
    if (bytes > 0 && bytes % 1024 ** power === 0) return `${bytes / 1024 ** power}${suffix}`;
  return `${bytes}`;
}
