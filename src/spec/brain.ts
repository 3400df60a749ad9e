/**
 * What `tripod-runtime create` and the brain say to each other, one JSON object a line over one stream. The runtime begins with a `CreateRequest`; the
 * brain answers with one `Verdict` line: `delegate` or `failed` end the conversation, anything else is a request to the warden (`protocol.ts`), which the
 * runtime starts on the first one and to which it carries every line from then on, and the warden's answers back. `done` ends it: the sandbox is
 * created. Source of `native/warden/src/runtime/brain.rs`.
 */

import * as v from "valibot";
import { TripodError } from "./errors.ts";
import { type HostPath, hostPath } from "./paths.ts";

export interface CreateRequest {
  /** `start`: of a sandbox whose launch plan is kept, when its network has come. The brain looks at it and launches. */
  readonly op: "create" | "start";
  readonly version: 1;
  readonly id: string;
  readonly bundle: HostPath;
  /** Where the sandbox's state directory will be. */
  readonly stateDir: HostPath;
  /** `cgroupsPath` is `slice:prefix:name`, as systemd's driver has it. */
  readonly systemdCgroup: boolean;
  /** Whether somebody waits for a terminal. */
  readonly console: boolean;
  /** Other containers of the same pod that are there already, its sandbox's own left out. */
  readonly neighbours: number;
  /** How many of them are guests of ours. */
  readonly guests: number;
  /** The caller's PATH. */
  readonly path: string;
}

export type BrainLine =
  /** A container: `program` takes the caller's place with the caller's arguments, or with another bundle in them. */
  | { readonly delegate: { readonly program: HostPath; readonly bundle?: HostPath; readonly notes?: string } }
  | { readonly failed: { readonly message: string; readonly hint?: string } }
  | { readonly done: Readonly<Record<string, never>> };

const absolute = v.pipe(
  v.string(),
  v.check((text) => text.startsWith("/") && !text.includes("\0")),
  v.transform(hostPath),
);

/**
 * How a warden of containerd's begins: of one task, whose calls it carries. Each follows as a `TaskCall`, also those that a daemon before left unanswered;
 * the same connection carries requests to the warden and its answers (`protocol.ts`). Source of `native/warden/src/serve/task.rs`.
 */
export interface TaskHello {
  readonly op: "task";
  readonly version: 1;
  /** containerd's namespace; with it the id is unique. */
  readonly namespace: string;
  readonly id: string;
  readonly bundle: HostPath;
  readonly stateDir: HostPath;
  /** containerd's socket for events. */
  readonly publish: HostPath;
  /** The warden's `StateFile`. */
  readonly state: unknown;
}

/** One call of containerd's: a ttrpc request, base64. It is answered once by a `TaskReply` with its number. */
export interface TaskCall {
  readonly call: number;
  readonly request: string;
}

export interface TaskReply {
  readonly reply: number;
  /** A ttrpc response, base64. */
  readonly response: string;
  /** The task is shut down: the warden ends when this is on its way. */
  readonly last?: true;
}

const identifier = v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/));

const helloSchema: v.GenericSchema<unknown, TaskHello> = v.object({
  op: v.literal("task"),
  version: v.literal(1),
  namespace: identifier,
  id: identifier,
  bundle: absolute,
  stateDir: absolute,
  publish: absolute,
  state: v.unknown(),
});

const callSchema: v.GenericSchema<unknown, TaskCall> = v.object({
  call: v.pipe(v.number(), v.safeInteger(), v.minValue(1)),
  request: v.string(),
});

/** Whether a first line is a warden's of containerd's; throws `bug` where it is and is not understood. */
export function decodeTaskHello(line: string): TaskHello | undefined {
  return line.startsWith('{"op":"task"') ? decoded(helloSchema, line) : undefined;
}

/** A call, or undefined where the line is something else. */
export function decodeTaskCall(line: string): TaskCall | undefined {
  return line.startsWith('{"call":') ? decoded(callSchema, line) : undefined;
}

function decoded<T>(of: v.GenericSchema<unknown, T>, line: string): T {
  try {
    return v.parse(of, JSON.parse(line));
  } catch (cause) {
    throw new TripodError("bug", "a warden's line is not understood", {
      cause,
      hint: "the warden and tripodd are of different versions: restart tripodd",
    });
  }
}

const schema: v.GenericSchema<unknown, CreateRequest> = v.object({
  op: v.picklist(["create", "start"]),
  version: v.literal(1),
  id: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_+.-]{0,127}$/)),
  bundle: absolute,
  stateDir: absolute,
  systemdCgroup: v.boolean(),
  console: v.boolean(),
  neighbours: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  guests: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  path: v.string(),
});

/** Decodes the first line. Throws `bug`: both ends are ours. */
export function decodeCreateRequest(line: string): CreateRequest {
  try {
    return v.parse(schema, JSON.parse(line));
  } catch (cause) {
    throw new TripodError("bug", "the runtime's request is not understood", {
      cause,
      hint: "tripod-runtime and tripodd are of different versions: restart tripodd",
    });
  }
}
