/** stop, wait: verbs that end with the workload. */

import { connectWarden, type WardenConnection } from "../host/warden.ts";
import { TripodError } from "../spec/errors.ts";
import type { Exit } from "../spec/protocol.ts";
import type { Context } from "./context.ts";
import { type SandboxView, viewSandbox } from "./store.ts";

/** Runs `speak` with the live warden, or returns the exit of a sandbox that has stopped. Throws `warden-gone` for a dead one. */
async function speakOrExit(
  context: Context,
  view: SandboxView,
  speak: (warden: WardenConnection) => Promise<Exit>,
): Promise<Exit> {
  const warden = await connectWarden(view.dir);
  if (warden === undefined) return exitOf(context, view);
  try {
    return await speak(warden);
  } catch (error) {
    // It ended between our connect and its answer: what it wrote last is the answer.
    if (error instanceof TripodError && error.code === "warden-gone") return exitOf(context, view);
    throw error;
  } finally {
    warden.close();
  }
}

async function exitOf(context: Context, view: SandboxView): Promise<Exit> {
  const now = await viewSandbox(context, view.file.id);
  if (now?.state?.exit !== undefined) return now.state.exit;
  throw new TripodError("warden-gone", `the warden of ${view.file.name} is gone and left no exit status`, {
    hint: `tripod rm -f ${view.file.name}`,
  });
}

/** Asks the workload to stop, kills it after `timeoutMs` (default: the monitor's own deadline). A stopped sandbox is left as it is. */
export const stopSandbox = (
  context: Context,
  view: SandboxView,
  options: { readonly timeoutMs?: number } = {},
): Promise<Exit> => speakOrExit(context, view, (warden) => warden.stop(options.timeoutMs));

/** Waits for the end of the workload. */
export const waitSandbox = (context: Context, view: SandboxView): Promise<Exit> =>
  speakOrExit(context, view, (warden) => warden.wait());
