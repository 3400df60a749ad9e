/** The node's facts, for everyone who decides: cached, probed, or, where nothing may be started, what can be seen without. */

import type { Config } from "../../spec/config.ts";
import type { HostPath } from "../../spec/paths.ts";
import type { Found, MonitorKind, OciRuntimeKind } from "../../spec/values.ts";
import { searchDirs } from "../process.ts";
import { cacheKey, readCache, writeCache } from "./cache.ts";
import { probeCni, standardCniDirs } from "./cni.ts";
import type { NodeFacts, OtherProgram, ProbeInput, Seen } from "./fact.ts";
import { machineFacts } from "./machine.ts";
import { type ProgramName, fileMark, findPrograms, notFound } from "./programs.ts";
import { probeSeccomp } from "./seccomp.ts";
import { tunPath } from "./tun.ts";

export type { NodeFacts, ProbeInput, Seen } from "./fact.ts";

/** A `Context` is one. */
export interface FactsOptions {
  readonly roots: { readonly run: HostPath; readonly lib: HostPath };
  readonly programs: { readonly tender: HostPath };
  /** Where monitors and CNI plugins are, if the operator says so. */
  readonly config: Pick<Config, "monitors" | "network">;
  /** Probes even if a cache holds. */
  readonly refresh?: boolean;
  /** Called before a probe that takes long enough to be noticed. */
  readonly onProbe?: () => void;
}

const inputOf = ({ roots, programs, config }: FactsOptions): ProbeInput => ({
  roots,
  programs,
  monitorPaths: Object.fromEntries(
    Object.entries(config.monitors).flatMap(([kind, { path }]) => (path === undefined ? [] : [[kind, path]])),
  ),
  dirs: searchDirs(process.env["PATH"]),
  cniDirs: config.network.cniPluginDirs ?? standardCniDirs,
});

/** Where a program lies; undefined where it is missing. */
export const pathOf = (found: Found): HostPath | undefined => ("path" in found ? found.path : undefined);

/**
 * The facts, from `<lib>/facts.json` where that holds (under 2 ms, no process started), probed and cached otherwise (up to seconds). Throws
 * `setup-missing` on an unknown architecture and nothing else: what does not work is a fact.
 */
export async function gatherFacts(options: FactsOptions): Promise<NodeFacts> {
  const input = inputOf(options);
  const key = cacheKey(input);
  const cached = options.refresh === true ? undefined : readCache(options.roots.lib, key);
  if (cached !== undefined) return cached;
  options.onProbe?.();
  // Loaded only here: a command that finds a cache does not pay for the probes' code.
  const { probeFacts } = await import("./gather.ts");
  const facts = await probeFacts(input);
  // A probe may load modules and so make device nodes: the key is taken anew.
  writeCache(options.roots.lib, cacheKey(input), facts);
  return facts;
}

const unprobed = "not probed yet";

/**
 * The facts without starting anything, for `create` under an engine. Without a cache that holds, KVM counts as `none`, and programs
 * that are there count as working (crun under hybrid cgroups excepted, which it refuses), all with the evidence "not probed yet".
 */
export function cachedFacts(options: FactsOptions): NodeFacts {
  const input = inputOf(options);
  const cached = readCache(options.roots.lib, cacheKey(input));
  if (cached !== undefined) return cached;
  const machine = machineFacts();
  const paths = findPrograms(input, machine.arch);
  const look = (name: ProgramName): Found => {
    const path = paths.get(name);
    return path === undefined ? notFound(input, name, machine.arch) : { path, version: unprobed };
  };
  const cni = probeCni(input.cniDirs);
  const tun = !fileMark(tunPath).endsWith(" -");
  const assumed: Seen = { works: true, evidence: unprobed };
  const monitors: Readonly<Record<MonitorKind, Found>> = {
    hvt: look("hvt"),
    spt: look("spt"),
    qemu: look("qemu"),
    firecracker: look("firecracker"),
    "cloud-hypervisor": look("cloud-hypervisor"),
  };
  const ociRuntimes: Readonly<Record<OciRuntimeKind, Found>> = {
    runc: look("runc"),
    crun: machine.cgroups === "hybrid" ? { missing: "crun refuses hybrid cgroups" } : look("crun"),
  };
  const others: Readonly<Record<OtherProgram, Found>> = {
    "solo5-hvt": look("solo5-hvt"),
    "solo5-spt": look("solo5-spt"),
    iptables: look("iptables"),
    virtiofsd: look("virtiofsd"),
  };
  return {
    ...machine,
    probed: false,
    kvm: { can: "none", evidence: unprobed },
    monitors,
    ociRuntimes,
    tender: { path: options.programs.tender, version: unprobed },
    others,
    tun,
    overlay: true,
    userNamespaces: true,
    cniPluginDirs: cni.pluginDirs,
    seen: {
      tun: { works: tun, evidence: tun ? unprobed : `${tunPath} is missing` },
      overlay: assumed,
      userNamespaces: assumed,
      cni: cni.seen,
      seccomp: probeSeccomp(),
    },
  };
}
