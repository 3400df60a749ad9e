/** Where the CNI plugins are that `tripod run` needs for its networks. */

import { type HostPath, hostPath } from "../../spec/paths.ts";
import { which } from "../process.ts";
import type { Seen } from "./fact.ts";

/** Debian's, upstream's and Fedora's directories. */
export const standardCniDirs = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"] as const;

/** The plugins of our default network. */
export const neededPlugins = ["bridge", "host-local", "portmap", "firewall", "loopback"] as const;

export interface CniFacts {
  /** Those directories that hold at least one needed plugin; empty if any plugin is in none. */
  readonly pluginDirs: readonly HostPath[];
  readonly seen: Seen;
}

export function probeCni(dirs: readonly string[]): CniFacts {
  const absolute = dirs.filter((dir) => dir.startsWith("/"));
  const places = new Map(neededPlugins.map((name) => [name, which(name, absolute)]));
  const missing = neededPlugins.filter((name) => places.get(name) === undefined);
  if (missing.length > 0)
    return {
      pluginDirs: [],
      seen: { works: false, evidence: `not in ${absolute.join(":")}: ${missing.join(", ")}` },
    };
  const pluginDirs = absolute
    .filter((dir) => neededPlugins.some((name) => places.get(name) === `${dir.replace(/\/+$/, "")}/${name}`))
    .map(hostPath);
  return {
    pluginDirs,
    seen: { works: true, evidence: `${neededPlugins.join(", ")} in ${pluginDirs.join(":")}` },
  };
}
