/**
 * The messages of containerd's Task service, by which it drives a shim. Version 3 has the same messages and methods as version 2 under another name.
 * Source: runtime/task/v2/shim.proto and v3 of containerd's API.
 */

import { type Method, message } from "./protobuf.ts";
import { mount } from "./types.ts";
import { any, empty, timestamp } from "./well-known.ts";

/** Names of the service, oldest first. */
export const taskServices = ["containerd.task.v2.Task", "containerd.task.v3.Task"] as const;

/** `status` of a process in {@link stateResponse}. */
export const taskStatus = { unknown: 0, created: 1, running: 2, stopped: 3, paused: 4, pausing: 5 } as const;

export const processInfo = message("containerd.v1.types.ProcessInfo", {
  pid: [1, "uint32"],
  info: [2, any],
});

export const createTaskRequest = message("containerd.task.v2.CreateTaskRequest", {
  id: [1, "string"],
  bundle: [2, "string"],
  rootfs: [3, { repeated: mount }],
  terminal: [4, "bool"],
  stdin: [5, "string"],
  stdout: [6, "string"],
  stderr: [7, "string"],
  checkpoint: [8, "string"],
  parentCheckpoint: [9, "string"],
  options: [10, any],
});

export const createTaskResponse = message("containerd.task.v2.CreateTaskResponse", {
  pid: [1, "uint32"],
});

export const deleteRequest = message("containerd.task.v2.DeleteRequest", {
  id: [1, "string"],
  execId: [2, "string"],
});

export const deleteResponse = message("containerd.task.v2.DeleteResponse", {
  pid: [1, "uint32"],
  exitStatus: [2, "uint32"],
  exitedAt: [3, timestamp],
});

export const execProcessRequest = message("containerd.task.v2.ExecProcessRequest", {
  id: [1, "string"],
  execId: [2, "string"],
  terminal: [3, "bool"],
  stdin: [4, "string"],
  stdout: [5, "string"],
  stderr: [6, "string"],
  spec: [7, any],
});

export const resizePtyRequest = message("containerd.task.v2.ResizePtyRequest", {
  id: [1, "string"],
  execId: [2, "string"],
  width: [3, "uint32"],
  height: [4, "uint32"],
});

export const stateRequest = message("containerd.task.v2.StateRequest", {
  id: [1, "string"],
  execId: [2, "string"],
});

export const stateResponse = message("containerd.task.v2.StateResponse", {
  id: [1, "string"],
  bundle: [2, "string"],
  pid: [3, "uint32"],
  status: [4, "enum"],
  stdin: [5, "string"],
  stdout: [6, "string"],
  stderr: [7, "string"],
  terminal: [8, "bool"],
  exitStatus: [9, "uint32"],
  exitedAt: [10, timestamp],
  execId: [11, "string"],
});

export const killRequest = message("containerd.task.v2.KillRequest", {
  id: [1, "string"],
  execId: [2, "string"],
  signal: [3, "uint32"],
  all: [4, "bool"],
});

export const closeIORequest = message("containerd.task.v2.CloseIORequest", {
  id: [1, "string"],
  execId: [2, "string"],
  stdin: [3, "bool"],
});

export const pidsRequest = message("containerd.task.v2.PidsRequest", {
  id: [1, "string"],
});

export const pidsResponse = message("containerd.task.v2.PidsResponse", {
  processes: [1, { repeated: processInfo }],
});

export const checkpointTaskRequest = message("containerd.task.v2.CheckpointTaskRequest", {
  id: [1, "string"],
  path: [2, "string"],
  options: [3, any],
});

export const updateTaskRequest = message("containerd.task.v2.UpdateTaskRequest", {
  id: [1, "string"],
  resources: [2, any],
  annotations: [3, { map: "string" }],
});

export const startRequest = message("containerd.task.v2.StartRequest", {
  id: [1, "string"],
  execId: [2, "string"],
});

export const startResponse = message("containerd.task.v2.StartResponse", {
  pid: [1, "uint32"],
});

export const waitRequest = message("containerd.task.v2.WaitRequest", {
  id: [1, "string"],
  execId: [2, "string"],
});

export const waitResponse = message("containerd.task.v2.WaitResponse", {
  exitStatus: [1, "uint32"],
  exitedAt: [2, timestamp],
});

export const statsRequest = message("containerd.task.v2.StatsRequest", {
  id: [1, "string"],
});

export const statsResponse = message("containerd.task.v2.StatsResponse", {
  stats: [1, any],
});

export const connectRequest = message("containerd.task.v2.ConnectRequest", {
  id: [1, "string"],
});

export const connectResponse = message("containerd.task.v2.ConnectResponse", {
  shimPid: [1, "uint32"],
  taskPid: [2, "uint32"],
  version: [3, "string"],
});

export const shutdownRequest = message("containerd.task.v2.ShutdownRequest", {
  id: [1, "string"],
  now: [2, "bool"],
});

export const pauseRequest = message("containerd.task.v2.PauseRequest", {
  id: [1, "string"],
});

export const resumeRequest = message("containerd.task.v2.ResumeRequest", {
  id: [1, "string"],
});

/** What each method is asked and answers. */
export const taskMethods = {
  State: { request: stateRequest, response: stateResponse },
  Create: { request: createTaskRequest, response: createTaskResponse },
  Start: { request: startRequest, response: startResponse },
  Delete: { request: deleteRequest, response: deleteResponse },
  Pids: { request: pidsRequest, response: pidsResponse },
  Pause: { request: pauseRequest, response: empty },
  Resume: { request: resumeRequest, response: empty },
  Checkpoint: { request: checkpointTaskRequest, response: empty },
  Kill: { request: killRequest, response: empty },
  Exec: { request: execProcessRequest, response: empty },
  ResizePty: { request: resizePtyRequest, response: empty },
  CloseIO: { request: closeIORequest, response: empty },
  Update: { request: updateTaskRequest, response: empty },
  Wait: { request: waitRequest, response: waitResponse },
  Stats: { request: statsRequest, response: statsResponse },
  Connect: { request: connectRequest, response: connectResponse },
  Shutdown: { request: shutdownRequest, response: empty },
} as const satisfies Readonly<Record<string, Method>>;
export type TaskMethod = keyof typeof taskMethods;
