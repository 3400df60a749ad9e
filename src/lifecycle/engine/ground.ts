/** What an engine's bundle settles of the ground: cgroup, network namespace, hooks. */

import type { EngineGround, OciHook } from "../../mode/input.ts";
import { statIfSeen } from "../../host/stat-if-seen.ts";
import { hookTimes } from "../../mode/input.ts";
import type { CreateRequest } from "../../spec/brain.ts";
import type { EngineConfig } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";
import { type CgroupPath, cgroupPath, hostPath } from "../../spec/paths.ts";
import type { Limits } from "../../spec/plan.ts";
import type { Bundle } from "./bundle.ts";
import { natOf } from "./pod.ts";

/** Seconds that an OCI hook may name at most: a day. */
const maxHookSeconds = 86_400;

const wrong = (field: string, why: string, hint?: string): TripodError =>
  new TripodError("bundle-invalid", `config.json: ${field} ${why}`, hint === undefined ? {} : { hint });

/** Throws `bundle-invalid` for what no guest can have. */
export function groundOf(bundle: Bundle, request: CreateRequest, natPool: string): EngineGround {
  const { config } = bundle;
  const networkNamespace = networkOf(config);
  const nat = natOf(config, request, natPool);
  const adjustment = config.process?.oomScoreAdj;
  if (adjustment !== undefined && adjustment !== null && (adjustment < -1000 || adjustment > 1000))
    throw wrong("process.oomScoreAdj", "is not from -1000 to 1000");
  return {
    cgroupPath: cgroupOf(config.linux?.cgroupsPath ?? "", request),
    ...(networkNamespace === undefined ? {} : { networkNamespace: hostPath(networkNamespace) }),
    ...(adjustment === undefined || adjustment === null ? {} : { oomScoreAdj: adjustment }),
    ...(nat === undefined ? {} : { nat }),
    hooks: hookTimes.flatMap((time) => hooksAt(config, time)),
    hookState: JSON.stringify({
      ociVersion: config.ociVersion,
      id: request.id,
      status: "creating",
      pid: 0,
      bundle: bundle.dir,
      annotations: config.annotations ?? {},
    }),
  };
}

const noHostNetwork = "leave out --network host; publish a port instead, or use --network none";

/** The path to join; undefined: a new one. A guest has a network stack of its own and cannot share the host's. */
function networkOf({ linux }: EngineConfig): string | undefined {
  const found = linux?.namespaces?.filter(({ type }) => type === "network") ?? [];
  const [entry, second] = found;
  if (entry === undefined)
    throw wrong(
      "linux.namespaces",
      "has no network namespace: the host's own network cannot be given to a unikernel",
      noHostNetwork,
    );
  if (second !== undefined) throw wrong("linux.namespaces", "names the network namespace twice");
  if (!entry.path) return undefined;
  if (!entry.path.startsWith("/")) throw wrong("linux.namespaces", `has the relative path ${entry.path}`);
  if (isHostNetwork(entry.path))
    throw wrong(
      "linux.namespaces",
      "joins the host's own network, which cannot be given to a unikernel",
      noHostNetwork,
    );
  return entry.path;
}

/** docker names its daemon's own network namespace by a path, and a guest would take the host's interfaces for its own. */
function isHostNetwork(path: string): boolean {
  const given = statIfSeen(path);
  return ["/proc/1/ns/net", "/proc/self/ns/net"].some((host) => {
    const known = statIfSeen(host);
    return given !== undefined && given.ino === known?.ino && given.dev === known.dev;
  });
}

/**
 * The sandbox's cgroup: the engine's path where its last part holds the id, else a child of it, so that whatever is in it is ours. In systemd's
 * spelling the directory that systemd would make of the scope.
 */
export function cgroupOf(
  given: string,
  { id, systemdCgroup }: Pick<CreateRequest, "id" | "systemdCgroup">,
): CgroupPath {
  const path = systemdCgroup ? scopePath(given, id) : given;
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.some((part) => part === "." || part === ".."))
    throw wrong("linux.cgroupsPath", `${JSON.stringify(given)} has a part . or ..`);
  if (parts.length === 0) return cgroupPath(`/tripod/${id}`);
  return cgroupPath(`/${(parts.at(-1)?.includes(id) === true ? parts : [...parts, id]).join("/")}`);
}

/** `slice:prefix:name` as systemd lays it out: `a-b.slice` lies in `a.slice`. */
function scopePath(given: string, id: string): string {
  const [slice, prefix, name, more] = given === "" ? ["", "tripod", id] : given.split(":");
  if (slice === undefined || prefix === undefined || name === undefined || more !== undefined)
    throw wrong(
      "linux.cgroupsPath",
      `${JSON.stringify(given)} is not slice:prefix:name, as --systemd-cgroup wants it`,
    );
  const scope = name.endsWith(".slice") ? name : `${prefix === "" ? "" : `${prefix}-`}${name}.scope`;
  return `${slicePath(slice === "" ? "system.slice" : slice)}/${scope}`;
}

function slicePath(slice: string): string {
  if (slice === "-.slice") return "";
  if (!/^[^/]+\.slice$/.test(slice) || slice.startsWith("-") || slice.includes("--"))
    throw wrong("linux.cgroupsPath", `names ${JSON.stringify(slice)}, which is no slice of systemd's`);
  const words = slice.slice(0, -".slice".length).split("-");
  return words.map((_, index) => `/${words.slice(0, index + 1).join("-")}.slice`).join("");
}

function hooksAt({ hooks }: EngineConfig, time: OciHook["time"]): OciHook[] {
  return (hooks?.[time] ?? []).map(({ path, args, env, timeout }, index) => {
    if (timeout !== undefined && timeout !== null && (timeout <= 0 || timeout > maxHookSeconds))
      throw wrong(`hooks.${time}.${index}.timeout`, `is not from 1 to ${maxHookSeconds} seconds`);
    return {
      time,
      path: hostPath(path),
      args: args ?? [path],
      env: env ?? [],
      timeoutMs: (timeout ?? 0) * 1000,
    };
  });
}

const positive = (value: number | null | undefined): number | undefined =>
  value === null || value === undefined || value <= 0 ? undefined : value;

/** What the kernel takes, microseconds; of shares it takes any number and uses 2 to 262144. */
const cpuRanges = {
  quota: [1000, Number.MAX_SAFE_INTEGER],
  period: [1000, 1_000_000],
  shares: [1, Number.MAX_SAFE_INTEGER],
} as const;

/** Limits without memory, which depends on the monitor. A quota of 0 or less and a limit of -1 mean none, as runc reads them. */
export function limitsOf({ linux }: EngineConfig): Limits {
  const cpu = linux?.resources?.cpu;
  const [quota, period, shares] = [positive(cpu?.quota), positive(cpu?.period), positive(cpu?.shares)];
  const inRange = (name: "quota" | "period" | "shares", value: number | undefined): void => {
    const [least, most] = cpuRanges[name];
    if (value !== undefined && (value < least || value > most))
      throw wrong(`linux.resources.cpu.${name}`, `is not from ${least} to ${most}`);
  };
  inRange("quota", quota);
  inRange("period", period);
  inRange("shares", shares);
  if (cpu?.cpus && !/^[\d,:/-]+$/.test(cpu.cpus))
    throw wrong("linux.resources.cpu.cpus", `${JSON.stringify(cpu.cpus.slice(0, 80))} is no list as 0-2,7`);
  return {
    ...(quota === undefined ? {} : { cpuQuotaUs: quota, cpuPeriodUs: period ?? 100_000 }),
    ...(shares === undefined ? {} : { cpuShares: shares }),
    ...(cpu?.cpus ? { cpusetCpus: cpu.cpus } : {}),
  };
}
