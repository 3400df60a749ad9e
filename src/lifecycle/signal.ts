/** kill, pause, resume: one word to the warden. It freezes a monitor's cgroup itself; a container's runtime does its own. */

import { connectWarden, type WardenConnection } from "../host/warden.ts";
import { TripodError } from "../spec/errors.ts";
import type { SandboxView } from "./store.ts";

async function speak(view: SandboxView, say: (warden: WardenConnection) => Promise<unknown>): Promise<void> {
  const warden = await connectWarden(view.dir);
  if (warden === undefined)
    throw new TripodError("sandbox-busy", `${view.file.name} does not run (${view.status})`, {
      hint: "tripod ps -a",
    });
  try {
    await say(warden);
  } finally {
    warden.close();
  }
}

/** Freezes all of the sandbox's processes. Throws `sandbox-busy` for one that does not run or is paused. */
export const pauseSandbox = (view: SandboxView): Promise<void> => speak(view, (warden) => warden.pause());

/** Thaws what `pauseSandbox` froze. Throws `sandbox-busy` for one that is not paused. */
export const resumeSandbox = (view: SandboxView): Promise<void> => speak(view, (warden) => warden.resume());

/** Sends a signal. Throws `sandbox-busy` when the sandbox does not run. */
export const killSandbox = (view: SandboxView, signal: number): Promise<void> =>
  speak(view, (warden) => warden.signal(signal));
