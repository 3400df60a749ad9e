/** The verbs of `tripod-runtime` that are TypeScript's. */

import type { Context } from "../../lifecycle/context.ts";

/** Carries out a verb; `argv` are the runtime's own arguments. Returns the exit status. */
export async function answer(argv: readonly string[], _openContext: () => Promise<Context>): Promise<number> {
  process.stderr.write(`no verb of ours: ${argv.join(" ")}\n`);
  return 1;
}
