/** What the probes return, and what `check` shows beyond what `select` needs. */

import type { HostPath } from "../../spec/paths.ts";
import type { Facts, Found, MonitorKind } from "../../spec/values.ts";

/** A yes or no with what it was seen by. */
export interface Seen {
  readonly works: boolean;
  readonly evidence: string;
}

/** Programs beside the monitors: those that serve one, and those that an operator asks about. */
export const otherPrograms = ["solo5-hvt", "solo5-spt", "iptables", "virtiofsd"] as const;
export type OtherProgram = (typeof otherPrograms)[number];

/** Facts that are a yes or no and carry evidence. */
export const seenFacts = ["tun", "overlay", "cni", "userNamespaces", "seccomp"] as const;
export type SeenFact = (typeof seenFacts)[number];

/** `Facts` for `select`, and the evidence and other programs for `check`. */
export interface NodeFacts extends Facts {
  /** False when these facts come without probing: nothing was started to get them. */
  readonly probed: boolean;
  readonly seen: Readonly<Record<SeenFact, Seen>>;
  /** Our own tender, whatever the configuration names for `hvt` and `spt`. */
  readonly tender: Found;
  readonly others: Readonly<Record<OtherProgram, Found>>;
}

/** What is probed: our own directories and programs, and the operator's choice of monitors. */
export interface ProbeInput {
  readonly roots: { readonly run: HostPath; readonly lib: HostPath };
  readonly programs: { readonly tender: HostPath };
  /** Paths of monitors by configuration; others are looked for in `dirs`. `hvt` and `spt` default to our tender. */
  readonly monitorPaths: Readonly<Partial<Record<MonitorKind, HostPath>>>;
  /** Directories to look for programs in. */
  readonly dirs: readonly string[];
  readonly cniDirs: readonly string[];
}
