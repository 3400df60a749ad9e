/**
 * Host ports that the machine's address translation has: the rules of the CNI plugin portmap and of docker. No listener stands behind such a port, so that
 * to bind it does not tell.
 */

import { TripodError } from "../spec/errors.ts";
import type { PortMapping } from "../spec/plan.ts";
import { runProgram, searchDirs, which } from "./process.ts";

export interface PortRule {
  readonly protocol: PortMapping["protocol"];
  readonly firstPort: number;
  readonly lastPort: number;
  /** Absent: every address of the host. */
  readonly hostIp?: string;
  /** The CNI container that it was made for, where the rule says so; ours are called by their sandbox's id. */
  readonly containerId?: string;
}

const deadlineMs = 10_000;
/** A node with thousands of services has some megabytes of rules. */
const maxOutputBytes = 64 << 20;

/** The chains that hold one DNAT rule for each published port. */
const portChains = /^(?:CNI-DN-\w+|DOCKER)$/;

/** The rules of today. Empty where there is no iptables, or where it cannot list them: then no plugin has made one. */
export async function readPortRules(): Promise<readonly PortRule[]> {
  const program = which("iptables-save", searchDirs(process.env["PATH"]));
  if (program === undefined) return [];
  try {
    const { code, stdout } = await runProgram(program, ["-t", "nat"], { deadlineMs, maxOutputBytes });
    return code === 0 ? parsePortRules(stdout) : [];
  } catch (error) {
    if (error instanceof TripodError) return [];
    throw error;
  }
}

/** Reads what `iptables-save -t nat` prints. Pure; lines that it does not know are passed over. */
export function parsePortRules(text: string): PortRule[] {
  const appended = text.split("\n").flatMap((line) => {
    const match = /^-A (\S+) (.*)$/.exec(line);
    return match?.[1] === undefined || match[2] === undefined ? [] : [{ chain: match[1], rule: match[2] }];
  });
  const containers = new Map<string, string>();
  for (const { chain, rule } of appended) {
    if (chain !== "CNI-HOSTPORT-DNAT") continue;
    const id = / id: \\"([^"\\]*)\\"/.exec(rule)?.[1];
    const target = / -j (\S+)$/.exec(rule)?.[1];
    if (id !== undefined && target !== undefined) containers.set(target, id);
  }
  return appended.flatMap(({ chain, rule }) =>
    portChains.test(chain) ? ruleOf(rule, containers.get(chain)) : [],
  );
}

function ruleOf(rule: string, containerId: string | undefined): PortRule[] {
  const padded = ` ${rule} `;
  const protocol = / -p (tcp|udp) /.exec(padded)?.[1];
  const [, first, last] = / --dport (\d+)(?::(\d+))? /.exec(padded) ?? [];
  if ((protocol !== "tcp" && protocol !== "udp") || first === undefined || !padded.includes(" -j DNAT "))
    return [];
  const hostIp = / -d (\d+(?:\.\d+){3})(?:\/32)? /.exec(padded)?.[1];
  return [
    {
      protocol,
      firstPort: Number(first),
      lastPort: Number(last ?? first),
      ...(hostIp === undefined ? {} : { hostIp }),
      ...(containerId === undefined ? {} : { containerId }),
    },
  ];
}
