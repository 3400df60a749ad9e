/** What an OCI runtime says that it understands (`features`, runtime-spec features.md): asked once a program, and kept beside the facts. */

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import type { HostPath } from "../spec/paths.ts";
import { fileMark } from "./facts/programs.ts";
import { runProgram } from "./process.ts";

const featuresSchema = v.looseObject({
  ociVersionMin: v.string(),
  ociVersionMax: v.string(),
  linux: v.optional(v.looseObject({ namespaces: v.nullish(v.array(v.string())) })),
});

export type RuntimeFeatures = v.InferOutput<typeof featuresSchema>;

/** Runtimes that have no `features` (runc before 1.1, crun before 1.9) are older than every new part. */
const oldRuntime: RuntimeFeatures = {
  ociVersionMin: "1.0.0",
  ociVersionMax: "1.0.2",
  linux: { namespaces: ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] },
};

const cacheSchema = v.object({ version: v.literal(1), mark: v.string(), features: featuresSchema });

/** Milliseconds that a runtime has for telling. */
const deadlineMs = 5000;

/** `lib`: where the answer is kept; a place that cannot be written only costs time. */
export async function runtimeFeatures(lib: HostPath, program: HostPath): Promise<RuntimeFeatures> {
  const file = join(lib, `features-${program.slice(program.lastIndexOf("/") + 1)}.json`);
  const mark = fileMark(program);
  const kept = read(file);
  if (kept?.mark === mark) return kept.features;
  const features = await ask(program);
  try {
    const fresh = `${file}.${process.pid}`;
    writeFileSync(fresh, JSON.stringify({ version: 1, mark, features }));
    renameSync(fresh, file);
  } catch {
    // The next caller asks again.
  }
  return features;
}

function read(file: string): v.InferOutput<typeof cacheSchema> | undefined {
  try {
    const result = v.safeParse(cacheSchema, JSON.parse(readFileSync(file, "utf8")));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

async function ask(program: HostPath): Promise<RuntimeFeatures> {
  const { code, stdout } = await runProgram(program, ["features"], { deadlineMs });
  if (code !== 0) return oldRuntime;
  try {
    const result = v.safeParse(featuresSchema, JSON.parse(stdout));
    return result.success ? result.output : oldRuntime;
  } catch {
    return oldRuntime;
  }
}
