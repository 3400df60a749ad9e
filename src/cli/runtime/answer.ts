/** The verbs of `tripod-runtime` that are TypeScript's. */

import { appendFileSync } from "node:fs";
import type { Context } from "../../lifecycle/context.ts";
import { TripodError } from "../../spec/errors.ts";
import { type RuntimeCall, parseCall } from "./arguments.ts";

export type Verb = (call: RuntimeCall, openContext: () => Promise<Context>) => Promise<void>;

const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  events: async () => (await import("./events.ts")).events,
  features: async () => (await import("./features.ts")).features,
  help: async () => (await import("./help.ts")).help,
  spec: async () => (await import("./spec.ts")).spec,
  update: async () => (await import("./update.ts")).update,
  version: async () => (await import("./version.ts")).version,
};

/** Carries out a verb; `argv` are the runtime's own arguments. Returns the exit status. */
export async function answer(argv: readonly string[], openContext: () => Promise<Context>): Promise<number> {
  let log: RuntimeCall["log"] = { file: undefined, json: false };
  try {
    const call = parseCall(argv);
    log = call.log;
    const verb = Object.hasOwn(verbs, call.verb) ? verbs[call.verb] : undefined;
    if (verb === undefined) throw new TripodError("usage", `no command is called ${call.verb}`);
    await (
      await verb()
    )(call, openContext);
    return 0;
  } catch (error) {
    tell(log, error instanceof Error ? error.message : String(error));
    return 1;
  }
}

/** stderr, and the caller's log, whose last line of level `error` is what engines show. */
function tell({ file, json }: RuntimeCall["log"], msg: string): void {
  process.stderr.write(`${msg}\n`);
  if (file === undefined) return;
  const time = new Date().toISOString();
  const line = json
    ? JSON.stringify({ level: "error", msg, time })
    : `time=${JSON.stringify(time)} level=error msg=${JSON.stringify(msg)}`;
  try {
    appendFileSync(file, `${line}\n`, { mode: 0o640 });
  } catch {
    // The caller has stderr.
  }
}

/** The one argument of a verb. Throws `usage`. */
export function soleId({ verb, args }: RuntimeCall): string {
  const [id, ...more] = args;
  if (id === undefined || more.length > 0)
    throw new TripodError("usage", `"${verb}" requires exactly 1 argument: tripod-runtime ${verb} ID`);
  return id;
}

/** Throws `usage` for any argument. */
export function noArguments({ verb, args }: RuntimeCall): void {
  if (args.length > 0) throw new TripodError("usage", `"${verb}" requires exactly 0 arguments`);
}
