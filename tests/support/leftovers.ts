/**
 * What the sandboxes of one root could leave behind on the machine, as sets of lines that can be compared. Everything is told apart by its root, because other
 * installations (and other tests) may work on the same machine at the same time.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readdirSafe, tree } from "./tripod.ts";

export interface Traces {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly links: readonly string[];
  readonly cgroups: readonly string[];
  readonly rules: readonly string[];
  readonly files: readonly string[];
}

const wardenDir = / serve --dir (\S+)\/run\/[^/]+\/([0-9a-f]{32}) /;

interface Process {
  readonly pid: string;
  readonly name: string;
  readonly argv: string;
  readonly cgroup: string;
}

/** Every process that still holds anything; one that waits to be reaped by the machine's init does not. */
function processes(): Process[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
        if (stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")) return [];
        const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        return [{ pid, name, argv, cgroup: readFileSync(`/proc/${pid}/cgroup`, "utf8") }];
      } catch {
        return [];
      }
    });
}

/** Ids of sandboxes whose warden lives and serves another root. */
const foreignIds = (all: readonly Process[], root: string): ReadonlySet<string> =>
  new Set(
    all.flatMap(({ argv }) => {
      const [, itsRoot, id] = wardenDir.exec(argv) ?? [];
      return id !== undefined && itsRoot !== root ? [id] : [];
    }),
  );

/** A process of this root names it, or is in a sandbox's cgroup that no other root's warden answers for. The command itself is not a trace. */
function processesOf(all: readonly Process[], root: string, foreign: ReadonlySet<string>): string[] {
  return all
    .filter(({ argv, cgroup, name }) => {
      if (argv.includes(`${root}/`) && /^(tripod-|runc|crun|qemu|sh$)/.test(name)) return true;
      const id = /\/tripod\/[^/\n]+\/([0-9a-f]{32})/.exec(cgroup)?.[1];
      return id !== undefined && !foreign.has(id);
    })
    .map(({ pid, name }) => `${pid} ${name}`);
}

const directories = (dir: string): string[] => {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(dir, entry.name));
  } catch {
    return [];
  }
};

/** `/tripod/<namespace>/<id>` of every hierarchy. `tripod` and one directory a namespace stay, as a slice does. */
function cgroups(foreign: ReadonlySet<string>): string[] {
  const found: string[] = [];
  for (const base of ["/sys/fs/cgroup", ...directories("/sys/fs/cgroup")])
    for (const namespace of directories(join(base, "tripod")))
      for (const path of directories(namespace))
        if (!foreign.has(path.slice(path.lastIndexOf("/") + 1))) found.push(path);
  return found;
}

function files(dir: string): string[] {
  return readdirSafe(dir).flatMap((entry) => [join(dir, entry), ...files(join(dir, entry))]);
}

const lines = (file: string, argv: readonly string[]): string[] =>
  spawnSync(file, argv, { encoding: "utf8", timeout: 10_000 }).stdout.split("\n");

/** The bridge and the /20 subnet of a root, once its first network has been configured. */
function networkOf(root: string): { readonly bridge: string; readonly subnet: string } | undefined {
  try {
    const list = readFileSync(join(root, "lib/networks/bridge.conflist"), "utf8");
    const bridge = /"bridge": "([^"]+)"/.exec(list)?.[1];
    const subnet = /"subnet": "([\d.]+)\/20"/.exec(list)?.[1];
    return bridge === undefined || subnet === undefined ? undefined : { bridge, subnet };
  } catch {
    return undefined;
  }
}

const isInSubnet = (address: string, subnet: string): boolean => {
  const [a, b, c] = address.split(".").map(Number);
  const [x, y, z] = subnet.split(".").map(Number);
  return a === x && b === y && (c ?? 0) >> 4 === (z ?? 0) >> 4;
};

/** Rules name the network in a comment, or an address of its subnet; the plugins' base chains, which stay, do neither. */
function rulesOf(network: ReturnType<typeof networkOf>): string[] {
  if (network === undefined) return [];
  return lines("iptables-save", []).filter(
    (line) =>
      line.startsWith("-A") &&
      (line.includes(`"${network.bridge}\\"`) ||
        (line.match(/\b\d+\.\d+\.\d+\.\d+\b/g) ?? []).some((address) => isInSubnet(address, network.subnet))),
  );
}

/** Interfaces of no bridge or of this root's; the bridges themselves stay by design. */
function linksOf(network: ReturnType<typeof networkOf>): string[] {
  return lines("ip", ["-o", "link"]).flatMap((line) => {
    const name = /^\d+: ([^:@\s]+)/.exec(line)?.[1];
    const master = / master (\S+)/.exec(line)?.[1];
    if (name === undefined || /^tripod(0|-[0-9a-f]{8})$/.test(name)) return [];
    return master === undefined || master === network?.bridge ? [name] : [];
  });
}

/** Everything of `root`'s that stands on the machine now; files are those beneath its run directory, its leases and what is unfinished in its store. */
export function traces(root: string): Traces {
  const all = processes();
  const foreign = foreignIds(all, root);
  const network = networkOf(root);
  return {
    processes: processesOf(all, root, foreign),
    // A Debian root and an engine's place that other test files make meanwhile have mounts of their own.
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => !line.includes(join(tree, "build/tests/")) && !line.includes("/tripod-engine-"))
      .map((line) => line.split(" ").slice(3, 5).join(" ")),
    links: linksOf(network),
    cgroups: cgroups(foreign),
    rules: rulesOf(network),
    files: [
      ...files(join(root, "run")),
      ...files(join(root, "lib", "networks", "leases")),
      ...readdirSafe(join(root, "lib/layers")).filter((name) => name.startsWith(".tmp")),
    ].filter(
      (path) =>
        !/\/(last_reserved_ip\.\d+|lock)$/.test(path) &&
        !/\/run\/default(\/names)?$/.test(path) &&
        !/\/leases\/[^/]+$/.test(path),
    ),
  };
}

/** What is in `after` and was not in `before`. */
export function left(before: Traces, after: Traces): Partial<Traces> {
  const fresh: Record<string, readonly string[]> = {};
  for (const [kind, now] of Object.entries(after) as [keyof Traces, readonly string[]][]) {
    const was = new Set(before[kind]);
    const extra = now.filter((entry) => !was.has(entry));
    if (extra.length > 0) fresh[kind] = extra;
  }
  return fresh;
}

/**
 * Fails when something new stays. What is left behind stays, and what another root's command does in between goes: only a line that every look within the
 * deadline sees is a finding.
 */
export async function assertNothingLeft(
  root: string,
  before: Traces,
  what: string,
  deadlineMs = 4000,
): Promise<void> {
  const until = Date.now() + deadlineMs;
  let lasting = left(before, traces(root));
  while (Object.keys(lasting).length > 0 && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = left(before, traces(root));
    lasting = Object.fromEntries(
      Object.entries(lasting)
        .map(
          ([kind, was]) => [kind, was.filter((line) => now[kind as keyof Traces]?.includes(line))] as const,
        )
        .filter(([, still]) => still.length > 0),
    );
  }
  assert.deepEqual(lasting, {}, `left ${what}`);
}
