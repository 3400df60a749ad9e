/**
 * The cache of facts, `<lib>/facts.json`. It holds for one boot, one machine size and the very program files that were probed; anything
 * else, damage included, is as if there were none. Reading it starts no process.
 */

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { statIfSeen } from "../stat-if-seen.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";
import { type Found, arches } from "../../spec/values.ts";
import { type NodeFacts, type ProbeInput, type Seen } from "./fact.ts";
import { bootId, machineFacts } from "./machine.ts";
import { fileMark, findPrograms } from "./programs.ts";
import { neededPlugins } from "./cni.ts";
import { tunPath } from "./tun.ts";

/** Raised whenever what a probe does or what is stored changes. */
const schemaVersion = 1;
/** A cache larger than this is not one of ours. */
const maxBytes = 256 << 10;

const path = v.pipe(
  v.string(),
  v.check((text) => text.startsWith("/") && !text.includes("\0")),
  v.transform(hostPath),
);
const found: v.GenericSchema<unknown, Found> = v.union([
  v.object({ path, version: v.string() }),
  v.object({ missing: v.string() }),
]);
const seen: v.GenericSchema<unknown, Seen> = v.object({ works: v.boolean(), evidence: v.string() });

const factsSchema: v.GenericSchema<unknown, NodeFacts> = v.object({
  probed: v.literal(true),
  arch: v.picklist(arches),
  kernelRelease: v.string(),
  kvm: v.object({ can: v.picklist(["none", "tiny", "linux"]), evidence: v.string() }),
  monitors: v.object({ hvt: found, spt: found, qemu: found, firecracker: found, "cloud-hypervisor": found }),
  ociRuntimes: v.object({ runc: found, crun: found }),
  cgroups: v.picklist(["v1", "v2", "hybrid", "none"]),
  tun: v.boolean(),
  overlay: v.boolean(),
  cniPluginDirs: v.array(path),
  userNamespaces: v.boolean(),
  memoryBytes: v.number(),
  cpus: v.number(),
  seen: v.object({ tun: seen, overlay: seen, cni: seen, userNamespaces: seen, seccomp: seen }),
  tender: found,
  others: v.object({ "solo5-hvt": found, "solo5-spt": found, iptables: found, virtiofsd: found }),
});

const cacheSchema = v.object({
  version: v.literal(schemaVersion),
  key: v.array(v.string()),
  facts: factsSchema,
});

export const cachePath = (lib: HostPath): HostPath => hostPath(join(lib, "facts.json"));

/**
 * What the facts depend on, one line each: the boot, the user, the machine, every program and plugin file that is or could be found, the
 * state directories. Only stat calls.
 */
export function cacheKey(input: ProbeInput): readonly string[] {
  const machine = machineFacts();
  const programs = findPrograms(input, machine.arch);
  const files = [...programs].map(([name, at]) => (at === undefined ? `${name} missing` : fileMark(at)));
  const plugins = input.cniDirs.flatMap((dir) => neededPlugins.map((plugin) => fileMark(`${dir}/${plugin}`)));
  return [
    `boot ${bootId()} uid ${process.geteuid?.() ?? -1}`,
    `machine ${JSON.stringify(machine)}`,
    `roots ${input.roots.run} ${input.roots.lib}`,
    fileMark(input.programs.tender),
    fileMark("/dev/kvm"),
    fileMark(tunPath),
    ...files,
    ...plugins,
  ];
}

/** The facts of a cache that still holds, or undefined. Never throws because of what the file holds. */
export function readCache(lib: HostPath, key: readonly string[]): NodeFacts | undefined {
  const file = cachePath(lib);
  const stat = statIfSeen(file);
  if (stat === undefined || !stat.isFile() || stat.size > maxBytes) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    // Unreadable or damaged: probing again mends it.
    return undefined;
  }
  const cache = v.safeParse(cacheSchema, content);
  if (!cache.success) return undefined;
  const same =
    cache.output.key.length === key.length && cache.output.key.every((line, at) => line === key[at]);
  return same ? cache.output.facts : undefined;
}

/**
 * Writes the cache whole: aside, then renamed. Not synced: after a power failure the boot is another. Returns why it could not be written;
 * that is no reason to fail, the next command only probes again.
 */
export function writeCache(lib: HostPath, key: readonly string[], facts: NodeFacts): string | undefined {
  const aside = join(lib, `.facts-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    mkdirSync(lib, { recursive: true, mode: 0o700 });
    writeFileSync(aside, JSON.stringify({ version: schemaVersion, key, facts }), { mode: 0o600, flag: "wx" });
    renameSync(aside, cachePath(lib));
    return undefined;
  } catch (error) {
    try {
      rmSync(aside, { force: true });
    } catch {
      // What could not be made need not be removed.
    }
    return error instanceof Error ? error.message : String(error);
  }
}
