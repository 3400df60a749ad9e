/** Every error that a person can meet, by code. docs/errors.md is generated from this table. */

export type Mender = "user" | "host" | "guest" | "bug";

interface ErrorEntry {
  /** Who can mend it. */
  readonly mender: Mender;
  /** Exit status of the command line: 125 our own failure, 126 not executable, 127 not found (docker's `run`), 1 elsewhere. */
  readonly exit: number;
  /** What this code means, for docs/errors.md. */
  readonly meaning: string;
  /** The remedy where the place that throws knows no better one. */
  readonly hint: string;
}

const entry = (mender: Mender, exit: number, meaning: string, hint: string): ErrorEntry => ({
  mender,
  exit,
  meaning,
  hint,
});

export const errorTable = {
  usage: entry("user", 125, "The command line could not be understood.", "tripod COMMAND --help"),
  "config-invalid": entry(
    "user",
    125,
    "A configuration file has a key or value that is not known.",
    "tripod check; docs/configuration.md lists every key",
  ),
  "image-not-found": entry(
    "user",
    125,
    "No image of that name is in the store or in its registry.",
    "tripod images shows what is in the store",
  ),
  "image-invalid": entry(
    "user",
    125,
    "The image does not follow the OCI image specification.",
    "build the image again, or ask who built it",
  ),
  "image-corrupt": entry(
    "host",
    125,
    "Bytes of an image do not match their digest or size.",
    "tripod rmi the image, then pull or load it again",
  ),
  "image-in-use": entry("user", 1, "The image is used by a sandbox.", "tripod ps -a shows by which sandbox"),
  "image-unsafe": entry(
    "user",
    125,
    "A layer tries to leave its directory or to exhaust the host.",
    "do not run this image; ask who built it",
  ),
  "bundle-invalid": entry(
    "user",
    1,
    "The `config.json` that an engine or a user made does not follow the OCI runtime specification, or asks for what no guest can have.",
    "look at the field that is named; tripod-runtime spec writes one that works",
  ),
  "annotation-invalid": entry(
    "user",
    125,
    "An annotation or label of ours is unknown or malformed.",
    "build the image again with keys that are known",
  ),
  "kernel-invalid": entry(
    "guest",
    126,
    "The guest's kernel is not a file that the monitor can load.",
    "build the image again with a kernel for the monitor that it names",
  ),
  "registry-failed": entry(
    "host",
    125,
    "A registry could not be reached or refused the request.",
    "check the registry's name and the network, then try again",
  ),
  "registry-denied": entry(
    "user",
    125,
    "A registry wants other credentials.",
    "log in with docker login, podman login or skopeo login",
  ),
  "no-fit": entry(
    "user",
    125,
    "No offer of the image fits this machine, the wishes and the policy.",
    "tripod explain IMAGE shows every way and what is against it",
  ),
  "monitor-missing": entry("host", 125, "The monitor's program is not on this machine.", "tripod check"),
  "kvm-unavailable": entry("host", 125, "The wish needs KVM, which does not work here.", "tripod check"),
  "memory-too-small": entry(
    "user",
    125,
    "The memory asked for is less than the guest or a container needs.",
    "give it more: -m 64m",
  ),
  "memory-invalid": entry(
    "user",
    125,
    "The amount of memory is malformed or out of range.",
    "an amount is a number with k, m or g: -m 64m",
  ),
  "port-in-use": entry("user", 125, "A host port is taken.", "publish another port: -p PORT:PORT"),
  "name-in-use": entry(
    "user",
    125,
    "A sandbox of that name exists.",
    "choose another --name, or tripod rm -f the other",
  ),
  "sandbox-not-found": entry("user", 1, "No sandbox of that name or id exists.", "tripod ps -a"),
  "sandbox-busy": entry(
    "user",
    1,
    "The verb is not allowed in the sandbox's present status.",
    "tripod ps -a shows its status",
  ),
  "exec-refused": entry(
    "user",
    126,
    "The mode of this sandbox has no way to run a second program.",
    "run the image with --mode container",
  ),
  "network-failed": entry(
    "host",
    125,
    "The sandbox's network could not be made.",
    "tripod check; or run with --network none",
  ),
  "network-not-found": entry(
    "user",
    125,
    "No network of that name is configured.",
    "--network bridge, or --network none",
  ),
  "state-unwritable": entry("host", 125, "The state directory cannot be written.", "choose another --root"),
  "disk-full": entry(
    "host",
    125,
    "The disk that holds the state or the images is full.",
    "df -h; tripod rmi what is not needed",
  ),
  "step-failed": entry(
    "host",
    125,
    "A step of the plan failed; everything before it was undone.",
    "tripod check shows what this machine lacks",
  ),
  "start-failed": entry(
    "guest",
    126,
    "The program of the sandbox could not be started.",
    "look at the image's program and its arguments",
  ),
  "program-not-found": entry(
    "user",
    127,
    "The program is not in the image.",
    "look at the image's program, or give another: --entrypoint PATH",
  ),
  "program-failed": entry(
    "host",
    125,
    "A program that Tripod runs could not be started or misbehaved.",
    "tripod check",
  ),
  "warden-gone": entry(
    "bug",
    125,
    "The warden ended without an answer.",
    "tripod rm -f what is left of the sandbox, then try again; --debug tells more",
  ),
  "daemon-running": entry(
    "user",
    125,
    "A tripodd serves this root already.",
    "stop it first, or give another --root",
  ),
  "not-root": entry("user", 125, "The command needs root.", "run it as root: sudo tripod …"),
  "wire-invalid": entry(
    "host",
    125,
    "Another program sent bytes that do not follow the protocol it was thought to speak.",
    "update the program that is named; if it is ours, please report it",
  ),
  "setup-missing": entry(
    "user",
    125,
    "Tripod is not set up in this tree.",
    "script/setup in the installation",
  ),
  timeout: entry("host", 125, "A wait passed its deadline.", "try again; --debug tells what was waited for"),
  bug: entry(
    "bug",
    125,
    "An error that should not happen; please report it.",
    "please report it, with what --debug prints",
  ),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

export interface ErrorDetails {
  /** A command or sentence that mends it. Default: the table's. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Overrides the table's exit status. */
  readonly exit?: number;
}

/** The one error class: `message` says what failed, on which subject, why; `hint` is the remedy. */
export class TripodError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly exit: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "TripodError";
    this.code = code;
    this.hint = details.hint ?? errorTable[code].hint;
    this.exit = details.exit ?? errorTable[code].exit;
  }
}

/** The errno name of a Node system error (`ENOENT`), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
