/** Reads the configuration: a file, then the drop-ins beside it. What it means is `spec/config.ts`'s. */

import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Config, decodeConfig, defaultConfig } from "../spec/config.ts";
import { TripodError, errnoOf } from "../spec/errors.ts";

/** Read when neither `--config` nor `TRIPOD_CONFIG` names another. */
export const standardConfigFile = "/etc/tripod/config.toml";

/** A configuration file larger than this is refused, bytes. */
const maxBytes = 1 << 20;

/**
 * The configuration. `named` must be there; the standard file need not. Drop-ins are the `*.toml` of the directory called as the file with
 * `.d` for `.toml`, in the order of their names; a later one's keys win, whole tables are merged. Throws `config-invalid` naming file and key.
 */
export async function loadConfig(named: string | undefined): Promise<Config> {
  const file = named ?? standardConfigFile;
  const own = readIfThere(file);
  if (own === undefined && named !== undefined)
    throw new TripodError("config-invalid", `${file} is not there`, { hint: "give --config another file" });
  const dropIns = dropInsOf(file);
  // Nearly always there is none: then neither the parser is loaded nor anything decoded.
  if (own === undefined && dropIns.length === 0) return defaultConfig;
  const { parse } = await import("smol-toml");
  const read = (path: string, text: string): unknown => {
    try {
      return parse(text);
    } catch (cause) {
      const why = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
      throw new TripodError("config-invalid", `${path}: ${why}`, { cause });
    }
  };
  let merged: unknown = {};
  for (const [path, text] of [...(own === undefined ? [] : [[file, own] as const]), ...dropIns]) {
    const content = read(path, text);
    // Each file is decoded alone first, so that an error names the file it stands in.
    decodeConfig(content, path);
    merged = mergeTables(merged, content);
  }
  return decodeConfig(merged, file);
}

function dropInsOf(file: string): (readonly [string, string])[] {
  const dir = file.endsWith(".toml") ? `${file.slice(0, -".toml".length)}.d` : `${file}.d`;
  let names: string[];
  try {
    names = readdirSync(dir);
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw unreadable(dir, error);
  }
  return names
    .filter((name) => name.endsWith(".toml") && !name.startsWith("."))
    .toSorted()
    .flatMap((name) => {
      const path = join(dir, name);
      const text = readIfThere(path);
      return text === undefined ? [] : [[path, text] as const];
    });
}

function readIfThere(path: string): string | undefined {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    if (!stat.isFile() || stat.size > maxBytes)
      throw new TripodError("config-invalid", `${path} is not a file of at most ${maxBytes} bytes`);
    return readFileSync(path, "utf8");
  } catch (error) {
    throw error instanceof TripodError ? error : unreadable(path, error);
  }
}

const unreadable = (path: string, cause: unknown): TripodError =>
  new TripodError("config-invalid", `${path} cannot be read: ${errnoOf(cause) ?? String(cause)}`, { cause });

const isTable = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Tables are merged key by key; anything else, lists too, is replaced. */
export function mergeTables(base: unknown, over: unknown): unknown {
  if (!isTable(base) || !isTable(over)) return over;
  const keys = new Set([...Object.keys(base), ...Object.keys(over)]);
  return Object.fromEntries(
    [...keys].map((key) => [key, Object.hasOwn(over, key) ? mergeTables(base[key], over[key]) : base[key]]),
  );
}
