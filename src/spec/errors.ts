/** Every error that a person can meet, by code. docs/errors.md is generated from this table. */

export type Mender = "user" | "host" | "guest" | "bug";

interface ErrorEntry {
  /** Who can mend it. */
  readonly mender: Mender;
  /** Exit status of the command line: 125 our own failure, 126 not executable, 127 not found (docker's `run`), 1 elsewhere. */
  readonly exit: number;
  /** What this code means, for docs/errors.md. */
  readonly meaning: string;
}

const entry = (mender: Mender, exit: number, meaning: string): ErrorEntry => ({ mender, exit, meaning });

export const errorTable = {
  usage: entry("user", 125, "The command line could not be understood."),
  "config-invalid": entry("user", 125, "A configuration file has a key or value that is not known."),
  "image-not-found": entry("user", 125, "No image of that name is in the store or in its registry."),
  "image-invalid": entry("user", 125, "The image does not follow the OCI image specification."),
  "image-corrupt": entry("host", 125, "Bytes of an image do not match their digest or size."),
  "image-in-use": entry("user", 1, "The image is used by a sandbox."),
  "image-unsafe": entry("user", 125, "A layer tries to leave its directory or to exhaust the host."),
  "annotation-invalid": entry("user", 125, "An annotation or label of ours is unknown or malformed."),
  "kernel-invalid": entry("guest", 126, "The guest's kernel is not a file that the monitor can load."),
  "registry-failed": entry("host", 125, "A registry could not be reached or refused the request."),
  "registry-denied": entry("user", 125, "A registry wants other credentials."),
  "no-fit": entry("user", 125, "No offer of the image fits this machine, the wishes and the policy."),
  "monitor-missing": entry("host", 125, "The monitor's program is not on this machine."),
  "kvm-unavailable": entry("host", 125, "The wish needs KVM, which does not work here."),
  "memory-too-small": entry("user", 125, "The guest does not fit into the memory asked for."),
  "memory-invalid": entry("user", 125, "The amount of memory is malformed or out of range."),
  "port-in-use": entry("user", 125, "A host port is taken."),
  "name-in-use": entry("user", 125, "A sandbox of that name exists."),
  "sandbox-not-found": entry("user", 1, "No sandbox of that name or id exists."),
  "sandbox-busy": entry("user", 1, "The verb is not allowed in the sandbox's present status."),
  "exec-refused": entry("user", 126, "The mode of this sandbox has no way to run a second program."),
  "network-failed": entry("host", 125, "The sandbox's network could not be made."),
  "network-not-found": entry("user", 125, "No network of that name is configured."),
  "state-unwritable": entry("host", 125, "The state directory cannot be written."),
  "disk-full": entry("host", 125, "The disk that holds the state or the images is full."),
  "step-failed": entry("host", 125, "A step of the plan failed; everything before it was undone."),
  "start-failed": entry("guest", 126, "The program of the sandbox could not be started."),
  "program-not-found": entry("user", 127, "The program is not in the image."),
  "program-failed": entry("host", 125, "A program that Tripod runs could not be started or misbehaved."),
  "warden-gone": entry("bug", 125, "The warden ended without an answer."),
  "not-root": entry("user", 125, "The command needs root."),
  "setup-missing": entry("user", 125, "Tripod is not set up in this tree."),
  timeout: entry("host", 125, "A wait passed its deadline."),
  bug: entry("bug", 125, "An error that should not happen; please report it."),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorDetails {
  /** A command or sentence that mends it. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Overrides the table's exit status. */
  readonly exit?: number;
}

/** The one error class: `message` says what failed, on which subject, why; `hint` is the remedy. */
export class TripodError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly exit: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "TripodError";
    this.code = code;
    this.hint = details.hint;
    this.exit = details.exit ?? errorTable[code].exit;
  }
}

/** The errno name of a Node system error (`ENOENT`), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
