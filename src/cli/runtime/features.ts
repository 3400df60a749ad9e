/** `features`: what is supported (runtime-spec, features.md): ours, and for containers what the runtime below says. */

import { cachedFacts } from "../../host/facts/facts.ts";
import { runtimeFeatures } from "../../host/runtime-features.ts";
import { hookTimes } from "../../mode/input.ts";
import { ownPrefix, uruncPrefix } from "../../spec/annotations.ts";
import { ociRuntimeKinds } from "../../spec/values.ts";
import { type Verb, noArguments } from "./answer.ts";
import { packageVersion, specVersion } from "./version.ts";

/** What a unikernel has without any other runtime. The time namespace is accepted and says nothing to a guest, which has a clock of its own. */
const ownNamespaces = ["cgroup", "ipc", "mount", "network", "pid", "time", "uts"];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const objectAt = (value: unknown, key: string): Readonly<Record<string, unknown>> =>
  isObject(value) && isObject(value[key]) ? value[key] : {};

export const features: Verb = async (call, openContext) => {
  noArguments(call);
  const context = await openContext();
  const facts = cachedFacts(context);
  const below = ociRuntimeKinds.map((kind) => facts.ociRuntimes[kind]).find((found) => "path" in found);
  const theirs =
    below === undefined || !("path" in below)
      ? undefined
      : await runtimeFeatures(context.roots.lib, below.path);
  const linux = objectAt(theirs, "linux");
  const document = {
    ...theirs,
    ociVersionMin: "1.0.0",
    ociVersionMax: specVersion,
    hooks: hookTimes,
    linux: {
      cgroup: { v1: true, v2: true, systemd: false, systemdUser: false },
      ...linux,
      namespaces: [...new Set([...ownNamespaces, ...(theirs?.linux?.namespaces ?? [])])].toSorted(),
    },
    annotations: {
      ...objectAt(theirs, "annotations"),
      "dev.tripod.runtime.version": packageVersion(),
      ...(below !== undefined && "path" in below ? { "dev.tripod.runtime.containers": below.path } : {}),
    },
    // A last dot makes it a prefix.
    potentiallyUnsafeConfigAnnotations: [ownPrefix, uruncPrefix],
  };
  process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
};
