/** The host's name servers as sandboxes can use them. */

import { readFileSync } from "node:fs";
import { type DnsConfig, isLoopback, parseResolvConf } from "../spec/resolv.ts";

/** Where systemd-resolved lists the servers that it asks itself, when /etc/resolv.conf names but its own stub. */
const upstreamPath = "/run/systemd/resolve/resolv.conf";

/**
 * What `/etc/resolv.conf` says; where it names loopback servers only, which no sandbox reaches, what systemd-resolved has behind them.
 * Empty when neither tells.
 */
export function hostDns(ownPath = "/etc/resolv.conf", upstream = upstreamPath): DnsConfig {
  const own = parseResolvConf(readOr(ownPath, ""));
  if (own.servers.length === 0 || !own.servers.every(isLoopback)) return own;
  const { servers } = parseResolvConf(readOr(upstream, ""));
  return servers.length === 0 ? own : { ...own, servers };
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return fallback;
  }
}
