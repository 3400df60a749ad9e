/** What a sandbox could leave behind on the machine, as sets of lines that can be compared. */

import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { readdirSafe } from "./tripod.ts";

export interface Traces {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly links: readonly string[];
  readonly cgroups: readonly string[];
  readonly rules: readonly string[];
  readonly files: readonly string[];
}

const ours = /^(tripod-|qemu-system|runc|crun|httpreply)/;

function processes(): string[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
        return ours.test(name) ? [`${pid} ${name}`] : [];
      } catch {
        return [];
      }
    });
}

/** Network namespaces that some process holds. */
function namespaces(): string[] {
  const found = new Set<string>();
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry)))
    try {
      found.add(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      // The process ended meanwhile.
    }
  return [...found];
}

function cgroups(): string[] {
  const found: string[] = [];
  const walk = (dir: string, depth: number): void => {
    for (const entry of readdirSafe(dir))
      if (depth < 4 && !entry.includes(".")) {
        found.push(join(dir, entry));
        walk(join(dir, entry), depth + 1);
      }
  };
  for (const base of [
    "/sys/fs/cgroup",
    ...readdirSafe("/sys/fs/cgroup").map((entry) => `/sys/fs/cgroup/${entry}`),
  ])
    walk(`${base}/tripod`, 0);
  // `tripod` and one directory a namespace stay, as a slice does.
  return found.filter((path) => /\/tripod\/[^/]+\/./.test(path));
}

function files(dir: string): string[] {
  return readdirSafe(dir).flatMap((entry) => [join(dir, entry), ...files(join(dir, entry))]);
}

const lines = (file: string, argv: readonly string[]): string[] =>
  spawnSync(file, argv, { encoding: "utf8", timeout: 10_000 }).stdout.split("\n");

/** Everything of ours that stands on the machine now; files are those beneath `root`'s run directory and leases. */
export function traces(root: string): Traces {
  return {
    processes: processes(),
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ").slice(3, 5).join(" ")),
    namespaces: namespaces(),
    links: lines("ip", ["-br", "link"])
      .map((line) => line.split(/[\s@]/)[0] ?? "")
      // The bridge of a root stays by design.
      .filter((name) => !/^tripod(0|-)/.test(name)),
    cgroups: cgroups(),
    // Per-sandbox rules carry the sandbox's address or a chain of its own; the plugins' empty base chains stay.
    rules: lines("iptables-save", []).filter(
      (line) =>
        line.startsWith("-A") &&
        !/^-A (PREROUTING|OUTPUT|POSTROUTING|FORWARD|CNI-FORWARD) (-m|-j CNI)/.test(line) &&
        !/^-A CNI-HOSTPORT-(SETMARK|MASQ)/.test(line),
    ),
    files: [...files(join(root, "run")), ...files(join(root, "lib", "networks", "leases"))].filter(
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
