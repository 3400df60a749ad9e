/** Decoders of what a warden sends. The warden is ours, yet a border is a border. */

import * as v from "valibot";
import { TripodError } from "../spec/errors.ts";
import type {
  EventLine,
  Exit,
  Launched,
  NetFacts,
  Prepared,
  StateFile,
  WardenError,
} from "../spec/protocol.ts";
import type { StepKind } from "../spec/plan.ts";

const uint = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const family = v.picklist(["ipv4", "ipv6"]);

const netFacts = v.object({
  interfaces: v.array(
    v.object({
      name: v.string(),
      mac: v.string(),
      mtu: uint,
      up: v.boolean(),
      addresses: v.array(v.object({ family, address: v.string(), prefix: uint })),
    }),
  ),
  routes: v.array(
    v.object({
      family,
      destination: v.string(),
      gateway: v.exactOptional(v.string()),
      interface: v.string(),
    }),
  ),
  dns: v.object({ servers: v.array(v.string()), search: v.array(v.string()) }),
}) satisfies v.GenericSchema<unknown, NetFacts>;

const stepKind = v.custom<StepKind>((value) => typeof value === "string");
const times = v.array(v.object({ step: stepKind, us: uint }));
const prepared = v.object({ net: v.exactOptional(netFacts), times }) satisfies v.GenericSchema<
  unknown,
  Prepared
>;
const launched = v.object({ pid: uint, times }) satisfies v.GenericSchema<unknown, Launched>;

const exitFields = {
  exitCode: uint,
  signal: v.exactOptional(uint),
  oomKilled: v.boolean(),
  finishedAt: v.string(),
};
const exit = v.object(exitFields) satisfies v.GenericSchema<unknown, Exit>;
const exitEvent = v.object({
  event: v.literal("exit"),
  exec: v.exactOptional(v.string()),
  ...exitFields,
}) satisfies v.GenericSchema<unknown, EventLine>;

const process = v.object({ pid: uint, startTicks: uint });
const stateFile = v.object({
  version: v.literal(1),
  id: v.string(),
  status: v.picklist(["creating", "created", "running", "paused", "stopped"]),
  ...process.entries,
  warden: process,
  createdAt: v.string(),
  startedAt: v.exactOptional(v.string()),
  exit: v.exactOptional(exit),
  execs: v.exactOptional(v.array(v.object({ name: v.string(), pid: uint, exit: v.exactOptional(exit) }))),
}) satisfies v.GenericSchema<unknown, StateFile>;

const wardenError = v.object({
  code: v.string(),
  message: v.string(),
  step: v.exactOptional(stepKind),
  index: v.exactOptional(uint),
  errno: v.exactOptional(v.string()),
}) satisfies v.GenericSchema<unknown, WardenError>;

const answer = v.union([
  v.object({ id: uint, error: wardenError }),
  v.object({ id: uint, ok: v.record(v.string(), v.unknown()) }),
  exitEvent,
]);

const decoder =
  <T>(what: string, schema: v.GenericSchema<unknown, T>) =>
  (value: unknown): T => {
    const result = v.safeParse(schema, value);
    if (result.success) return result.output;
    const issue = result.issues[0];
    throw new TripodError(
      "bug",
      `${what} is malformed at ${v.getDotPath(issue) ?? "the top"}: ${issue.message}`,
    );
  };

export const decodePrepared = decoder("the warden's answer to prepare", prepared);
export const decodeLaunched = decoder("the warden's answer to launch", launched);
export const decodeExit = decoder("an exit", exit);
export const decodeStateFile = decoder("state.json", stateFile);
const decodeLine = decoder("the warden's line", answer);

/** One line of the protocol from the warden. Throws `bug` on anything else. */
export function decodeAnswer(line: string): v.InferOutput<typeof answer> {
  return decodeLine(parseJson(line, "the warden's line"));
}

/** One line printed by `tripod-warden undo` or `unpack`: undefined when all went well. */
export function decodeOutcome(line: string): WardenError | undefined {
  const outcome = decoder(
    "the warden's outcome",
    v.union([v.object({ error: wardenError }), v.object({ ok: v.unknown() })]),
  );
  const result = outcome(parseJson(line, "the warden's outcome"));
  return "error" in result ? result.error : undefined;
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TripodError("bug", `${what} is not JSON: ${text.slice(0, 200)}`, { cause });
  }
}
