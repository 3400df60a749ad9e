/**
 * Options that containerd's configuration or a client may give a runtime, and what a runtime tells of a process: types/runc/options, types/runtimeoptions and
 * types/introspection.proto of containerd's API.
 */

import { message } from "./protobuf.ts";
import { any } from "./well-known.ts";

/** The options of the runc shim, which clients pass to any shim. 12 and 13 are out of use. */
export const runcOptions = message("containerd.runc.v1.Options", {
  noPivotRoot: [1, "bool"],
  noNewKeyring: [2, "bool"],
  shimCgroup: [3, "string"],
  ioUid: [4, "uint32"],
  ioGid: [5, "uint32"],
  binaryName: [6, "string"],
  root: [7, "string"],
  systemdCgroup: [9, "bool"],
  criuImagePath: [10, "string"],
  criuWorkPath: [11, "string"],
  taskApiAddress: [12, "string"],
  taskApiVersion: [13, "uint32"],
});

/** The options of a runtime that containerd does not know: the table of its configuration, as TOML in `configBody` or in a file. */
export const runtimeOptions = message("runtimeoptions.v1.Options", {
  typeUrl: [1, "string"],
  configPath: [2, "string"],
  configBody: [3, "bytes"],
});

export const checkpointOptions = message("containerd.runc.v1.CheckpointOptions", {
  exit: [1, "bool"],
  openTcp: [2, "bool"],
  externalUnixSockets: [3, "bool"],
  terminal: [4, "bool"],
  fileLocks: [5, "bool"],
  emptyNamespaces: [6, { repeated: "string" }],
  cgroupsMode: [7, "string"],
  imagePath: [8, "string"],
  workPath: [9, "string"],
  parentPath: [10, "string"],
});

/** `info` of a process in the answer to Pids, for the processes of an exec. */
export const processDetails = message("containerd.runc.v1.ProcessDetails", {
  execId: [1, "string"],
});

export const runtimeVersion = message("containerd.types.RuntimeVersion", {
  version: [1, "string"],
  revision: [2, "string"],
});

/** What a shim prints for `-info`. */
export const runtimeInfo = message("containerd.types.RuntimeInfo", {
  name: [1, "string"],
  version: [2, runtimeVersion],
  options: [3, any],
  features: [4, any],
  annotations: [5, { map: "string" }],
});
