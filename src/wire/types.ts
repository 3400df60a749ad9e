/** Messages that several of containerd's protocols share. Source: types/ of its API. */

import { type MessageOf, message } from "./protobuf.ts";
import { any, timestamp } from "./well-known.ts";

export const mount = message("containerd.types.Mount", {
  type: [1, "string"],
  source: [2, "string"],
  target: [3, "string"],
  options: [4, { repeated: "string" }],
});
export type Mount = MessageOf<typeof mount>;

export const platform = message("containerd.types.Platform", {
  os: [1, "string"],
  architecture: [2, "string"],
  variant: [3, "string"],
  osVersion: [4, "string"],
  osFeatures: [5, { repeated: "string" }],
});

export const metric = message("containerd.types.Metric", {
  timestamp: [1, timestamp],
  id: [2, "string"],
  data: [3, any],
});

const sandboxRuntime = message("containerd.types.Sandbox.Runtime", {
  name: [1, "string"],
  options: [2, any],
});

export const sandbox = message("containerd.types.Sandbox", {
  sandboxId: [1, "string"],
  runtime: [2, sandboxRuntime],
  spec: [3, any],
  labels: [4, { map: "string" }],
  createdAt: [5, timestamp],
  updatedAt: [6, timestamp],
  extensions: [7, { map: any }],
  sandboxer: [10, "string"],
});
