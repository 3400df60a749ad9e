/** kill, pause, resume: one word to the warden. It freezes a monitor's cgroup itself; a container's runtime does its own. */

import { connectWarden, type WardenConnection } from "../host/warden.ts";
import { TripodError } from "../spec/errors.ts";
import type { SandboxView } from "./store.ts";

async function speak(view: SandboxView, say: (warden: WardenConnection) => Promise<unknown>): Promise<void> {
  const warden = await connectWarden(view.dir);
  if (warden === undefined) throw doesNotRun(view, view.status);
  try {
    await say(warden);
  } catch (error) {
    // It ended between our connect and its answer.
    if (error instanceof TripodError && error.code === "warden-gone")
      throw doesNotRun(view, "it has just ended", error);
    throw error;
  } finally {
    warden.close();
  }
}

const doesNotRun = ({ file }: SandboxView, why: string, cause?: unknown): TripodError =>
  new TripodError("sandbox-busy", `${file.name} does not run (${why})`, { hint: "tripod ps -a", cause });

/** Freezes all of the sandbox's processes. Throws `sandbox-busy` for one that does not run or is paused. */
export const pauseSandbox = (view: SandboxView): Promise<void> => speak(view, (warden) => warden.pause());

/** Thaws what `pauseSandbox` froze. Throws `sandbox-busy` for one that is not paused. */
export const resumeSandbox = (view: SandboxView): Promise<void> => speak(view, (warden) => warden.resume());

/** Sends a signal. Throws `sandbox-busy` when the sandbox does not run. */
export const killSandbox = (view: SandboxView, signal: number): Promise<void> =>
  speak(view, (warden) => warden.signal(signal));
