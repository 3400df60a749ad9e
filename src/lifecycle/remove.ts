/** rm: by the living warden, or by `tripod-warden undo` from the journal of a dead one. The same code undoes in both. */

import { runProgram } from "../host/process.ts";
import { isStopped, processStartTicks } from "../host/processes.ts";
import { connectWarden } from "../host/warden.ts";
import { decodeOutcome } from "../host/warden-decode.ts";
import { TripodError } from "../spec/errors.ts";
import type { Context } from "./context.ts";
import { type SandboxView, releaseName, sweepHalfMade } from "./store.ts";

/** Undoing covers network plugins with deadlines of their own. */
const undoDeadlineMs = 120_000;

/**
 * Removes a sandbox and all it made. Throws `sandbox-busy` for one that runs unless `force`; idempotent otherwise: what another command removed
 * meanwhile is no error.
 */
export async function removeSandbox(
  context: Context,
  view: SandboxView,
  options: { readonly force: boolean },
): Promise<void> {
  if (!options.force && view.status !== "stopped" && view.status !== "dead")
    throw new TripodError("sandbox-busy", `${view.file.name} is ${view.status}`, {
      hint: `tripod stop ${view.file.name}, or tripod rm -f ${view.file.name}`,
    });
  if (!options.force && view.status === "dead" && (await outlivedItsWarden(view)))
    throw new TripodError("sandbox-busy", `${view.file.name} lost its warden, and its program still runs`, {
      hint: `tripod rm -f ${view.file.name}`,
    });
  await deleteByWarden(context, view, options.force);
  await releaseName(context, view.file);
  await sweepHalfMade(context);
}

/** A monitor dies with its warden; a container does not. */
const outlivedItsWarden = async ({ state }: SandboxView): Promise<boolean> =>
  state !== undefined && state.pid > 0 && (await processStartTicks(state.pid)) === state.startTicks;

/**
 * A warden that somebody has stopped (SIGSTOP, a debugger) never answers: by force it is killed, and undone from its journal. One look in a
 * second is not enough to say so, two are.
 */
function killStopped({ state }: SandboxView): NodeJS.Timeout | undefined {
  if (state === undefined) return undefined;
  const { pid, startTicks } = state.warden;
  let seen = 0;
  const look = async (): Promise<void> => {
    seen = (await isStopped(pid, startTicks)) ? seen + 1 : 0;
    if (seen >= 2) process.kill(pid, "SIGKILL");
  };
  return setInterval(() => void look().catch(() => {}), 500);
}

async function deleteByWarden(context: Context, view: SandboxView, force: boolean): Promise<void> {
  const warden = await connectWarden(view.dir);
  if (warden !== undefined) {
    const watch = force ? killStopped(view) : undefined;
    try {
      await warden.delete(force);
      return;
    } catch (error) {
      // It ended on its own meanwhile; what is left is undone below.
      if (!(error instanceof TripodError && error.code === "warden-gone")) throw error;
    } finally {
      clearInterval(watch);
      warden.close();
    }
  }
  const result = await runProgram(
    context.programs.warden,
    ["undo", "--dir", view.dir, "--lib", context.roots.lib],
    {
      env: {},
      deadlineMs: undoDeadlineMs,
    },
  );
  const error = decodeOutcome(
    result.stdout.trim() ||
      `{"error":{"code":"bug","message":${JSON.stringify(`undo printed nothing; ${result.stderr.slice(0, 500)}`)}}}`,
  );
  if (error !== undefined && error.errno !== "ENOENT")
    throw new TripodError("step-failed", `cleaning up after ${view.file.name}: ${error.message}`, {
      hint: `tripod rm -f ${view.file.name} again; the state is in ${view.dir}`,
    });
}
