/** containerd's Sandbox service, by which a shim is asked for a pod without a container of its own. Source: runtime/sandbox/v1/sandbox.proto of its API. */

import { type Method, message } from "./protobuf.ts";
import { metric, mount, platform, sandbox } from "./types.ts";
import { any, timestamp } from "./well-known.ts";

export const sandboxService = "containerd.runtime.sandbox.v1.Sandbox";

/** `state` in {@link sandboxStatusResponse}. */
export const sandboxStates = ["SANDBOX_READY", "SANDBOX_NOTREADY"] as const;

export const createSandboxRequest = message("containerd.runtime.sandbox.v1.CreateSandboxRequest", {
  sandboxId: [1, "string"],
  bundlePath: [2, "string"],
  rootfs: [3, { repeated: mount }],
  options: [4, any],
  netnsPath: [5, "string"],
  annotations: [6, { map: "string" }],
});

export const createSandboxResponse = message("containerd.runtime.sandbox.v1.CreateSandboxResponse", {});

export const startSandboxRequest = message("containerd.runtime.sandbox.v1.StartSandboxRequest", {
  sandboxId: [1, "string"],
});

export const startSandboxResponse = message("containerd.runtime.sandbox.v1.StartSandboxResponse", {
  pid: [1, "uint32"],
  createdAt: [2, timestamp],
  spec: [3, any],
});

export const platformRequest = message("containerd.runtime.sandbox.v1.PlatformRequest", {
  sandboxId: [1, "string"],
});

export const platformResponse = message("containerd.runtime.sandbox.v1.PlatformResponse", {
  platform: [1, platform],
});

export const stopSandboxRequest = message("containerd.runtime.sandbox.v1.StopSandboxRequest", {
  sandboxId: [1, "string"],
  timeoutSecs: [2, "uint32"],
});

export const stopSandboxResponse = message("containerd.runtime.sandbox.v1.StopSandboxResponse", {});

/** `fields` names the parts of `sandbox` that are to change; 2 and 3 are out of use. */
export const updateSandboxRequest = message("containerd.runtime.sandbox.v1.UpdateSandboxRequest", {
  sandboxId: [1, "string"],
  resources: [2, any],
  annotations: [3, { map: "string" }],
  sandbox: [4, sandbox],
  fields: [5, { repeated: "string" }],
});

export const waitSandboxRequest = message("containerd.runtime.sandbox.v1.WaitSandboxRequest", {
  sandboxId: [1, "string"],
});

export const waitSandboxResponse = message("containerd.runtime.sandbox.v1.WaitSandboxResponse", {
  exitStatus: [1, "uint32"],
  exitedAt: [2, timestamp],
});

export const updateSandboxResponse = message("containerd.runtime.sandbox.v1.UpdateSandboxResponse", {});

export const sandboxStatusRequest = message("containerd.runtime.sandbox.v1.SandboxStatusRequest", {
  sandboxId: [1, "string"],
  verbose: [2, "bool"],
});

export const sandboxStatusResponse = message("containerd.runtime.sandbox.v1.SandboxStatusResponse", {
  sandboxId: [1, "string"],
  pid: [2, "uint32"],
  state: [3, "string"],
  info: [4, { map: "string" }],
  createdAt: [5, timestamp],
  exitedAt: [6, timestamp],
  extra: [7, any],
});

export const pingRequest = message("containerd.runtime.sandbox.v1.PingRequest", {
  sandboxId: [1, "string"],
});

export const pingResponse = message("containerd.runtime.sandbox.v1.PingResponse", {});

export const shutdownSandboxRequest = message("containerd.runtime.sandbox.v1.ShutdownSandboxRequest", {
  sandboxId: [1, "string"],
});

export const shutdownSandboxResponse = message("containerd.runtime.sandbox.v1.ShutdownSandboxResponse", {});

export const sandboxMetricsRequest = message("containerd.runtime.sandbox.v1.SandboxMetricsRequest", {
  sandboxId: [1, "string"],
});

export const sandboxMetricsResponse = message("containerd.runtime.sandbox.v1.SandboxMetricsResponse", {
  metrics: [1, metric],
});

/** What each method is asked and answers. */
export const sandboxMethods = {
  CreateSandbox: { request: createSandboxRequest, response: createSandboxResponse },
  StartSandbox: { request: startSandboxRequest, response: startSandboxResponse },
  Platform: { request: platformRequest, response: platformResponse },
  StopSandbox: { request: stopSandboxRequest, response: stopSandboxResponse },
  WaitSandbox: { request: waitSandboxRequest, response: waitSandboxResponse },
  SandboxStatus: { request: sandboxStatusRequest, response: sandboxStatusResponse },
  PingSandbox: { request: pingRequest, response: pingResponse },
  ShutdownSandbox: { request: shutdownSandboxRequest, response: shutdownSandboxResponse },
  SandboxMetrics: { request: sandboxMetricsRequest, response: sandboxMetricsResponse },
  UpdateSandbox: { request: updateSandboxRequest, response: updateSandboxResponse },
} as const satisfies Readonly<Record<string, Method>>;
export type SandboxMethod = keyof typeof sandboxMethods;
