/**
 * The brain protocol: what is said between the brain (this program in process, or tripodd) and a warden, one JSON object
 * a line, each line at most 4 MiB, over a stream socket. Requests carry an `id`; every request gets exactly one answer with the same
 * `id`, either `ok` or `error`. Events carry no `id`. Unknown operations are answered with an error; unknown fields are
 * ignored. The first connection is fd 3 of the warden (the *owner*); any number more come by `control.sock` in the state
 * directory. If the owner goes away before `start` has succeeded, the warden undoes everything, removes the state directory and
 * exits.
 *
 * `native/vectors/protocol.json` is written from these types and read by both languages' tests.
 */

import type { Base64, Mac, Plan, Stdio, StepKind } from "./plan.ts";

export type SandboxStatus = "creating" | "created" | "running" | "paused" | "stopped";

export type Request =
  /** Carries out the ground plan. Answer: `Prepared`. */
  | { readonly op: "prepare"; readonly plan: Plan; readonly onExit: OnExit }
  /**
   * Carries out the launch plan; afterwards the sandbox is `created`. `atStart`: it is kept, and carried out by `start` unless another `launch` comes
   * before; `pid` is 0 then. Answer: `Launched`.
   */
  | { readonly op: "launch"; readonly plan: Plan; readonly atStart?: true }
  /** Looks at the network again, of a sandbox whose launch plan is kept. Answer: `Prepared`. */
  | { readonly op: "look" }
  /** Undoes what was prepared: the sandbox is as at its beginning. Answer: `{}`. */
  | { readonly op: "undo" }
  /** The owner lets go: from now on a sandbox that never started stays until `delete`. Answer: `{}`. */
  | { readonly op: "release" }
  /** Lets the workload go. Answered when its program runs (exec succeeded). Answer: `Launched`. */
  | { readonly op: "start" }
  /** Sends a signal to the workload, or to a program that was executed besides. Answer: `{}`. */
  | { readonly op: "signal"; readonly signal: number; readonly exec?: string }
  /** Executes another program in a container. `process`: as the runtime specification has it, JSON. Answer: `Launched`; its end is an event. */
  | { readonly op: "exec"; readonly name: string; readonly process: Base64; readonly stdio: Stdio }
  /** Of a program that was executed besides and has ended: its name may be used again. Answer: `{}`. */
  | { readonly op: "forget"; readonly name: string }
  /** Asks the workload to stop by its means, kills it after `timeoutMs` (default: the plan's). Answered when it is gone. Answer: `Exit`. */
  | { readonly op: "stop"; readonly timeoutMs?: number }
  /** Answered when the workload has ended. Answer: `Exit`. */
  | { readonly op: "wait" }
  | { readonly op: "state" }
  /** Sets the terminal's window size. Answer: `{}`. */
  | { readonly op: "resize"; readonly rows: number; readonly cols: number; readonly exec?: string }
  /** Freezes or thaws a monitor's processes (a container's runtime does its own). Answer: `{}`. */
  | { readonly op: "pause" }
  | { readonly op: "resume" }
  /** Kills if `force`, undoes everything, removes the state directory; the warden answers and exits. Answer: `{}`. */
  | { readonly op: "delete"; readonly force: boolean };

export type RequestLine = Request & { readonly id: number };

/** What the warden does when the workload has ended: it always undoes what was live; `remove` also deletes the state directory. */
export type OnExit = "keep" | "remove";

export type AnswerLine =
  | { readonly id: number; readonly ok: Readonly<Record<string, unknown>> }
  | { readonly id: number; readonly error: WardenError };

/** An event for the owner: the workload ended, or a program that was executed besides. */
export type EventLine = { readonly event: "exit"; readonly exec?: string } & Exit;

export interface WardenError {
  /** `step-failed`, `bad-request`, `not-allowed` (verb in this status), `exec-failed`, `gone`. */
  readonly code: string;
  /** A sentence: what failed, on which subject, why. */
  readonly message: string;
  /** For `step-failed`: which step. */
  readonly step?: StepKind;
  readonly index?: number;
  /** The system's error name, e.g. `ENOENT`. */
  readonly errno?: string;
}

/** How long one step took, in microseconds. */
export interface StepTime {
  readonly step: StepKind;
  readonly us: number;
}

export interface Prepared {
  /** What stands in the sandbox's network namespace now; absent without one. */
  readonly net?: NetFacts;
  readonly times: readonly StepTime[];
}

export interface Launched {
  /** The monitor's or container's first process, in the host's pid namespace. */
  readonly pid: number;
  readonly times: readonly StepTime[];
}

export interface Exit {
  /** 0…255: the workload's status, or 128 + the signal that ended it. */
  readonly exitCode: number;
  readonly signal?: number;
  readonly oomKilled: boolean;
  /** RFC 3339. */
  readonly finishedAt: string;
}

/** One address of an interface. */
export interface NetAddress {
  readonly family: "ipv4" | "ipv6";
  readonly address: string;
  readonly prefix: number;
}

export interface NetRoute {
  readonly family: "ipv4" | "ipv6";
  /** CIDR; the default route is `0.0.0.0/0` or `::/0`. */
  readonly destination: string;
  readonly gateway?: string;
  readonly interface: string;
}

export interface NetInterface {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly up: boolean;
  readonly addresses: readonly NetAddress[];
}

/** A network namespace as it was seen, loopback left out. Link-local IPv6 addresses are left out. */
export interface NetFacts {
  readonly interfaces: readonly NetInterface[];
  readonly routes: readonly NetRoute[];
  /** Name servers and search domains from the network's own configuration; may be empty. */
  readonly dns: { readonly servers: readonly string[]; readonly search: readonly string[] };
}

/**
 * `state.json`, written by the warden alone (temporary name, synced, renamed). A warden that lives holds a lock
 * (`flock`) on `lock` in the state directory and answers on `control.sock`; if neither, a status other than `stopped` is stale.
 */
export interface StateFile {
  readonly version: 1;
  readonly id: string;
  readonly status: SandboxStatus;
  /** The workload's first process; 0 before it exists and after it ended. */
  readonly pid: number;
  /** Its start time in clock ticks since boot (field 22 of /proc/PID/stat). */
  readonly startTicks: number;
  readonly warden: { readonly pid: number; readonly startTicks: number };
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly exit?: Exit;
  /** Programs that were executed besides; absent: none. */
  readonly execs?: readonly { readonly name: string; readonly pid: number; readonly exit?: Exit }[];
}
