/** What happened to tasks and sandboxes, as a shim tells containerd. Source: events/task.proto, events/sandbox.proto and services/ttrpc/events of its API. */

import { type MessageInput, type Method, encodeMessage, message } from "./protobuf.ts";
import { mount } from "./types.ts";
import { type Timestamp, any, empty, packAny, timestamp } from "./well-known.ts";

export const taskIO = message("containerd.events.TaskIO", {
  stdin: [1, "string"],
  stdout: [2, "string"],
  stderr: [3, "string"],
  terminal: [4, "bool"],
});

export const taskCreate = message("containerd.events.TaskCreate", {
  containerId: [1, "string"],
  bundle: [2, "string"],
  rootfs: [3, { repeated: mount }],
  io: [4, taskIO],
  checkpoint: [5, "string"],
  pid: [6, "uint32"],
});

export const taskStart = message("containerd.events.TaskStart", {
  containerId: [1, "string"],
  pid: [2, "uint32"],
});

export const taskDelete = message("containerd.events.TaskDelete", {
  containerId: [1, "string"],
  pid: [2, "uint32"],
  exitStatus: [3, "uint32"],
  exitedAt: [4, timestamp],
  id: [5, "string"],
});

export const taskExit = message("containerd.events.TaskExit", {
  containerId: [1, "string"],
  id: [2, "string"],
  pid: [3, "uint32"],
  exitStatus: [4, "uint32"],
  exitedAt: [5, timestamp],
});

export const taskOOM = message("containerd.events.TaskOOM", {
  containerId: [1, "string"],
});

export const taskExecAdded = message("containerd.events.TaskExecAdded", {
  containerId: [1, "string"],
  execId: [2, "string"],
});

export const taskExecStarted = message("containerd.events.TaskExecStarted", {
  containerId: [1, "string"],
  execId: [2, "string"],
  pid: [3, "uint32"],
});

export const taskPaused = message("containerd.events.TaskPaused", {
  containerId: [1, "string"],
});

export const taskResumed = message("containerd.events.TaskResumed", {
  containerId: [1, "string"],
});

export const taskCheckpointed = message("containerd.events.TaskCheckpointed", {
  containerId: [1, "string"],
  checkpoint: [2, "string"],
});

export const sandboxCreate = message("containerd.events.SandboxCreate", {
  sandboxId: [1, "string"],
});

export const sandboxStart = message("containerd.events.SandboxStart", {
  sandboxId: [1, "string"],
});

export const sandboxExit = message("containerd.events.SandboxExit", {
  sandboxId: [1, "string"],
  exitStatus: [2, "uint32"],
  exitedAt: [3, timestamp],
});

export const envelope = message("containerd.types.Envelope", {
  timestamp: [1, timestamp],
  namespace: [2, "string"],
  topic: [3, "string"],
  event: [4, any],
});

export const forwardRequest = message("containerd.services.events.ttrpc.v1.ForwardRequest", {
  envelope: [1, envelope],
});

/** Where events go, on the ttrpc socket that containerd names in `TTRPC_ADDRESS`. */
export const eventsService = "containerd.services.events.ttrpc.v1.Events";

export const eventsMethods = {
  Forward: { request: forwardRequest, response: empty },
} as const satisfies Readonly<Record<string, Method>>;

/** What is told under each topic. */
export const eventTopics = {
  "/tasks/create": taskCreate,
  "/tasks/start": taskStart,
  "/tasks/exit": taskExit,
  "/tasks/delete": taskDelete,
  "/tasks/oom": taskOOM,
  "/tasks/exec-added": taskExecAdded,
  "/tasks/exec-started": taskExecStarted,
  "/tasks/paused": taskPaused,
  "/tasks/resumed": taskResumed,
  "/tasks/checkpointed": taskCheckpointed,
  "/sandbox/create": sandboxCreate,
  "/sandbox/start": sandboxStart,
  "/sandbox/exit": sandboxExit,
} as const;
export type Topic = keyof typeof eventTopics;

export interface TaskEvent<T extends Topic> {
  readonly topic: T;
  /** containerd's, not the kernel's. */
  readonly namespace: string;
  readonly timestamp: Timestamp;
  readonly event: MessageInput<(typeof eventTopics)[T]>;
}

/** The payload of a request to Forward. */
export function encodeForward<T extends Topic>({
  topic,
  namespace,
  timestamp: at,
  event,
}: TaskEvent<T>): Uint8Array {
  return encodeMessage(forwardRequest, {
    envelope: { timestamp: at, namespace, topic, event: packAny(eventTopics[topic], event) },
  });
}
