/** `events`: runc's lines of statistics and out-of-memory notices, for a unikernel. */

import { setTimeout as sleep } from "node:timers/promises";
import { cgroupStats, oomKills } from "../../host/cgroup-stats.ts";
import { engineSandbox } from "../../lifecycle/engine/sandbox.ts";
import { TripodError } from "../../spec/errors.ts";
import { parseDuration } from "../../spec/units.ts";
import { type Verb, soleId } from "./answer.ts";

const defaultIntervalMs = 5000;

/** The longest time in which an end or an out-of-memory kill goes unseen. */
const lookMs = 500;

export const events: Verb = async (call) => {
  const id = soleId(call);
  const { interval } = call.flags;
  const intervalMs = typeof interval === "string" ? parseDuration(interval, "--interval") : defaultIntervalMs;
  if (intervalMs <= 0) throw new TripodError("usage", "duration interval must be greater than 0");
  const { cgroups } = await engineSandbox(call.root, id);
  const print = (type: string, data?: object): void => {
    process.stdout.write(`${JSON.stringify({ type, id, ...(data === undefined ? {} : { data }) })}\n`);
  };
  print("stats", cgroupStats(cgroups));
  if (call.flags["stats"] === true) return;
  let kills = oomKills(cgroups);
  for (let next = Date.now() + intervalMs; ;) {
    await sleep(Math.max(1, Math.min(next - Date.now(), lookMs)));
    if (!(await isAlive(call.root, id))) return;
    const now = oomKills(cgroups);
    if (now > kills) print("oom");
    kills = now;
    if (Date.now() < next) continue;
    print("stats", cgroupStats(cgroups));
    next += intervalMs;
  }
};

async function isAlive(root: Parameters<typeof engineSandbox>[0], id: string): Promise<boolean> {
  try {
    await engineSandbox(root, id);
    return true;
  } catch (error) {
    if (error instanceof TripodError && (error.code === "sandbox-not-found" || error.code === "sandbox-busy"))
      return false;
    throw error;
  }
}
