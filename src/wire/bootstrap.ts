/** What containerd and a shim's `start` tell each other on standard input and output. Source: runtime/bootstrap/v1/bootstrap.proto of containerd's API. */

import { TripodError } from "../spec/errors.ts";
import { type MessageOf, type Schema, decodeMessage, message } from "./protobuf.ts";
import { type Any, any } from "./well-known.ts";

/** `logLevel` in {@link bootstrapParams}. */
export const logLevels = { trace: -8, debug: -4, info: 0, warn: 4, error: 8, fatal: 10, panic: 12 } as const;

export const extension = message("containerd.runtime.bootstrap.v1.Extension", {
  value: [1, any],
});

export const bootstrapParams = message("containerd.runtime.bootstrap.v1.BootstrapParams", {
  instanceId: [1, "string"],
  namespace: [2, "string"],
  logLevel: [3, "enum"],
  containerdVersion: [4, "string"],
  containerdTtrpcAddress: [5, "string"],
  containerdGrpcAddress: [6, "string"],
  containerdBinary: [7, "string"],
  extensions: [8, { repeated: extension }],
  socketDir: [9, { optional: "string" }],
});
export type BootstrapParams = MessageOf<typeof bootstrapParams>;

export const bootstrapResult = message("containerd.runtime.bootstrap.v1.BootstrapResult", {
  version: [1, "int32"],
  address: [2, "string"],
  protocol: [3, "string"],
  capabilities: [4, { repeated: "enum" }],
  metadata: [5, { map: "string" }],
  extensions: [6, { repeated: extension }],
});

/** What stood on the standard input of `start`. */
export type StartInput =
  | { readonly kind: "params"; readonly params: BootstrapParams }
  | { readonly kind: "options"; readonly options: Any }
  | { readonly kind: "nothing" };

/**
 * Tells what containerd 2.3 and later send, the parameters, from what earlier ones send, the options alone. The two can look the same on the wire, so it is the
 * parameters only if they name the sandbox and namespace of the command line. Throws `wire-invalid` when it is neither.
 */
export function decodeStartInput(
  bytes: Uint8Array,
  { id, namespace }: { readonly id: string; readonly namespace: string },
): StartInput {
  if (bytes.byteLength === 0) return { kind: "nothing" };
  const params = decodeIfSound(bootstrapParams, bytes);
  if (params?.instanceId === id && params.namespace === namespace) return { kind: "params", params };
  return { kind: "options", options: decodeMessage(any, bytes) };
}

function decodeIfSound<S extends Schema>(schema: S, bytes: Uint8Array): MessageOf<S> | undefined {
  try {
    return decodeMessage(schema, bytes);
  } catch (error) {
    if (error instanceof TripodError && error.code === "wire-invalid") return undefined;
    throw error;
  }
}
