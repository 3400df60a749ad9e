/**
 * The `config.json` of a bundle that an engine made (OCI runtime specification 1.0 to 1.3): the parts that a unikernel has a use for, decoded from
 * hostile bytes. Parts that only a process of the host could have (capabilities, rlimits, seccomp, devices, masked paths) are passed over: the guest has
 * a kernel of its own, and the monitor's confinement is ours.
 */

import * as v from "valibot";
import { TripodError } from "./errors.ts";

const maxText = 1 << 20;
const maxList = 65_536;

const text = v.pipe(
  v.string("must be a string"),
  v.check((value) => !value.includes("\0"), "holds a NUL"),
  v.check((value) => value.length <= maxText, `is longer than ${maxText} characters`),
);
const path = v.pipe(
  text,
  v.minLength(1, "must not be empty"),
  v.maxLength(4096, "is longer than 4096 characters"),
);
const absolute = v.pipe(
  path,
  v.check((value) => value.startsWith("/"), "must be an absolute path"),
);
const list = <Item extends v.GenericSchema>(item: Item) =>
  v.pipe(v.array(item, "must be a list"), v.maxLength(maxList, `has more than ${maxList} entries`));
const whole = v.pipe(
  v.number("must be a number"),
  v.check((value) => Number.isInteger(value), "must be a whole number"),
);
const id = v.pipe(
  whole,
  v.check((value) => value >= 0 && value < 2 ** 32 - 1, "is no user or group id"),
);
/** Bytes of a host name that Linux takes (`__NEW_UTS_LEN`). */
const maxHostname = 64;
const hostname = v.pipe(
  text,
  v.check(
    (value) => new TextEncoder().encode(value).length <= maxHostname,
    `is longer than ${maxHostname} bytes`,
  ),
);
/** Go writes absent lists, objects and numbers as `null`. */
const optional = <Entry extends v.GenericSchema>(entry: Entry) => v.nullish(entry);
/** A list is an object to JavaScript. */
const object = v.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "must be an object",
);
const table = <Entries extends v.ObjectEntries>(entries: Entries) => v.pipe(object, v.object(entries));

const hook = table({
  path: absolute,
  args: optional(list(text)),
  env: optional(list(text)),
  timeout: optional(whole),
});

const schema = table({
  ociVersion: v.pipe(text, v.regex(/^1\.[0-9]+\.[0-9]+/, "is no version 1 of the specification")),
  process: optional(
    table({
      terminal: optional(v.boolean("must be true or false")),
      consoleSize: optional(table({ height: whole, width: whole })),
      user: optional(table({ uid: optional(id), gid: optional(id) })),
      args: optional(list(text)),
      env: optional(list(text)),
      cwd: optional(path),
      oomScoreAdj: optional(whole),
    }),
  ),
  root: optional(table({ path, readonly: optional(v.boolean("must be true or false")) })),
  hostname: optional(hostname),
  mounts: optional(
    list(
      table({
        destination: path,
        type: optional(text),
        source: optional(text),
        options: optional(list(text)),
      }),
    ),
  ),
  hooks: optional(
    table({
      prestart: optional(list(hook)),
      createRuntime: optional(list(hook)),
      createContainer: optional(list(hook)),
      startContainer: optional(list(hook)),
      poststart: optional(list(hook)),
      poststop: optional(list(hook)),
    }),
  ),
  annotations: optional(v.pipe(object, v.record(text, text))),
  linux: optional(
    table({
      cgroupsPath: optional(text),
      namespaces: optional(list(table({ type: text, path: optional(text) }))),
      resources: optional(
        table({
          memory: optional(table({ limit: optional(whole) })),
          cpu: optional(
            table({
              quota: optional(whole),
              period: optional(whole),
              shares: optional(whole),
              cpus: optional(text),
            }),
          ),
        }),
      ),
    }),
  ),
});

/** As decoded; `null` and absent are the same. */
export type EngineConfig = v.InferOutput<typeof schema>;
export type EngineHook = v.InferOutput<typeof hook>;

/** Decodes parsed JSON. Throws `bundle-invalid` naming `file` and the field. */
export function decodeEngineConfig(content: unknown, file: string): EngineConfig {
  const result = v.safeParse(schema, content, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = v.getDotPath(issue);
  const known = issue.kind === "schema" && issue.received === "undefined" ? "is missing" : issue.message;
  throw new TripodError(
    "bundle-invalid",
    `${file}: ${field === null ? "" : `${field.slice(0, 200)} `}${known}`,
  );
}

/** Numbers of a version: `1.2.0-rc.1` is [1, 2]. */
export function versionOf({ ociVersion }: Pick<EngineConfig, "ociVersion">): readonly [number, number] {
  const [major, minor] = ociVersion.split(".").map(Number);
  return [major ?? 1, minor ?? 0];
}
