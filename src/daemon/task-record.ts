/** What `tripodd` keeps of a task of containerd's, in its state directory: with it and the warden's own state a daemon that comes anew knows all. */

import { readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import * as v from "valibot";
import { TripodError, errnoOf } from "../spec/errors.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import { modes } from "../spec/values.ts";

const schema = v.object({
  version: v.literal(1),
  mode: v.picklist(modes),
  /** A process to show to those who ask for the task's: of a container its first, else the warden. 0: the task was about to be made. */
  pid: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  bundle: v.string(),
  /** The pod that it belongs to; absent: none, or it is the pod's own sandbox. */
  pod: v.exactOptional(v.string()),
  stdin: v.string(),
  stdout: v.string(),
  stderr: v.string(),
  terminal: v.boolean(),
  /** Which events were told. */
  told: v.object({ create: v.boolean(), start: v.boolean(), exit: v.boolean() }),
});

export type TaskRecord = Readonly<v.InferOutput<typeof schema>>;

const fileOf = (stateDir: HostPath): string => join(stateDir, "task.json");

/** Undefined: the task was not created yet. Throws `state-invalid` for a file that is damaged. */
export function readTaskRecord(stateDir: HostPath): TaskRecord | undefined {
  let text: string;
  try {
    text = readFileSync(fileOf(stateDir), "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return v.parse(schema, JSON.parse(text));
  } catch (cause) {
    throw new TripodError("bug", `${fileOf(stateDir)} is not what we wrote`, { cause });
  }
}

/** The other tasks of a pod that are there, and how many of them are guests. */
export function neighboursOf(
  stateDir: HostPath,
  pod: string | undefined,
): { readonly neighbours: number; readonly guests: number } {
  if (pod === undefined) return { neighbours: 0, guests: 0 };
  const records = readdirSync(dirname(stateDir))
    .filter((name) => name !== basename(stateDir))
    .map((name) => readTaskRecord(hostPath(join(dirname(stateDir), name))))
    .filter((record) => record?.pod === pod);
  return {
    neighbours: records.length,
    guests: records.filter((record) => record?.mode === "unikernel").length,
  };
}

/** Whole or not at all. */
export function writeTaskRecord(stateDir: HostPath, record: TaskRecord): void {
  const aside = `${fileOf(stateDir)}.new`;
  writeFileSync(aside, JSON.stringify(record), { mode: 0o600 });
  renameSync(aside, fileOf(stateDir));
}
