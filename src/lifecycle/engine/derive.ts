/** A bundle's configuration as an older runtime understands it: the newest parts of the specification left out where that changes nothing that the container sees. */

import { isAbsolute, join } from "node:path";
import * as v from "valibot";
import { type EngineConfig, versionOf } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";

/** What the runtime says of itself. */
export interface Understood {
  readonly ociVersionMax: string;
  readonly namespaces: readonly string[];
}

export interface DerivedConfig {
  readonly config: unknown;
  /** What was changed, one clause each. */
  readonly notes: readonly string[];
}

/** Loose: what we do not look at is handed on as it is. `decodeEngineConfig` has seen it before. */
const configSchema = v.looseObject({
  ociVersion: v.string(),
  root: v.nullish(v.looseObject({ path: v.string() })),
  mounts: v.nullish(v.array(v.looseObject({ source: v.nullish(v.string()), type: v.nullish(v.string()) }))),
  process: v.nullish(v.looseObject({ env: v.nullish(v.array(v.string())) })),
  linux: v.nullish(
    v.looseObject({
      namespaces: v.nullish(v.array(v.looseObject({ type: v.string(), path: v.nullish(v.string()) }))),
      timeOffsets: v.nullish(v.record(v.string(), v.unknown())),
    }),
  ),
});

const isNewer = ([major, minor]: readonly [number, number], than: readonly [number, number]): boolean =>
  major > than[0] || (major === than[0] && minor > than[1]);

/** Whether the configuration has parts that not every runtime in use understands. */
export const hasNewParts = (config: EngineConfig): boolean =>
  isNewer(versionOf(config), [1, 0]) ||
  config.linux?.namespaces?.some(({ type }) => type === "time") === true;

/**
 * `raw` for a runtime that understands `understood`; undefined when it can have it as it is. Relative paths become absolute, because the result lies in another
 * directory than `bundle`. `guest`: the address of the guest whose requests and probes this container, Knative's queue-proxy, is to hand on. Throws `bundle-invalid` where what would be left out matters: a clock that is set off, or another container's.
 */
export function deriveConfig(
  raw: unknown,
  bundle: string,
  understood: Understood,
  guest?: string,
): DerivedConfig | undefined {
  const config = v.parse(configSchema, raw);
  const notes: string[] = [];
  if (guest !== undefined) notes.push(`its probes go to the guest at ${guest}`);
  let { ociVersion, linux } = config;
  const time = linux?.namespaces?.find(({ type }) => type === "time");
  if (linux && time !== undefined && !understood.namespaces.includes("time")) {
    if (time.path || Object.keys(linux.timeOffsets ?? {}).length > 0)
      throw new TripodError(
        "bundle-invalid",
        "config.json: linux.namespaces asks for a time namespace with a clock of its own, which the runtime below does not know",
        { hint: "install runc 1.2 or crun 1.9 and newer" },
      );
    const namespaces = linux.namespaces?.filter(({ type }) => type !== "time");
    const { timeOffsets: _, ...rest } = linux;
    linux = { ...rest, namespaces };
    notes.push("the time namespace, which sets no clock off, was left out");
  }
  // A newer number alone is refused by no runtime, and another bundle would show in the state that hooks read.
  if (notes.length === 0) return undefined;
  if (isNewer(versionOf({ ociVersion }), versionOf({ ociVersion: understood.ociVersionMax }))) {
    notes.push(`ociVersion ${ociVersion} became ${understood.ociVersionMax}`);
    ociVersion = understood.ociVersionMax;
  }
  const absolute = (path: string): string => (isAbsolute(path) ? path : join(bundle, path));
  return {
    config: {
      ...config,
      ociVersion,
      ...(config.root ? { root: { ...config.root, path: absolute(config.root.path) } } : {}),
      ...(config.mounts
        ? {
            mounts: config.mounts.map((mount) =>
              isBind(mount) ? { ...mount, source: absolute(mount.source ?? "") } : mount,
            ),
          }
        : {}),
      ...(linux ? { linux } : {}),
      ...(config.process && guest !== undefined
        ? { process: { ...config.process, env: redirectProbes(config.process.env ?? [], guest) } }
        : {}),
    },
    notes,
  };
}

const probeVariable = "SERVING_READINESS_PROBE=";
const redirectVariable = "REDIRECT_IP=";

/** Knative's proxy asks the program beside it at the loopback address, where a guest is not: it is told the guest's. */
function redirectProbes(env: readonly string[], guest: string): string[] {
  const kept = env.filter((entry) => !entry.startsWith(redirectVariable));
  return [
    ...kept.map((entry) =>
      entry.startsWith(probeVariable)
        ? `${probeVariable}${redirectProbe(entry.slice(probeVariable.length), guest)}`
        : entry,
    ),
    `${redirectVariable}${guest}`,
  ];
}

/** A probe as Kubernetes writes it in JSON; what is none is left as it is, for the proxy to complain of. */
function redirectProbe(text: string, guest: string): string {
  let probe: unknown;
  try {
    probe = JSON.parse(text);
  } catch {
    return text;
  }
  if (typeof probe !== "object" || probe === null || Array.isArray(probe)) return text;
  const targets = ["httpGet", "tcpSocket", "grpc"];
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(probe).map(([key, value]: [string, unknown]) => [
        key,
        targets.includes(key) && typeof value === "object" && value !== null
          ? { ...value, host: guest }
          : value,
      ]),
    ),
  );
}

/** A mount whose source is a path, which runtimes read from the bundle's directory. */
function isBind(mount: Readonly<Record<string, unknown>>): boolean {
  const { options, type, source } = mount;
  return (
    typeof source === "string" &&
    source !== "" &&
    (type === "bind" ||
      (Array.isArray(options) && options.some((option) => option === "bind" || option === "rbind")))
  );
}
