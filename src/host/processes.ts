/** What /proc says of a process. */

import { readFile } from "node:fs/promises";

/** The fields of /proc/PID/stat after the command's name, the state first; undefined when there is no such process. */
async function statFields(pid: number): Promise<readonly string[] | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field is the command in parentheses and may hold blanks and parentheses itself.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** Start time in clock ticks since boot (field 22); undefined when there is no such process, or only its zombie. */
export async function processStartTicks(pid: number): Promise<number | undefined> {
  const fields = await statFields(pid);
  if (fields === undefined || fields[0] === "Z" || fields[0] === "X") return undefined;
  const ticks = Number(fields[19]);
  return Number.isSafeInteger(ticks) ? ticks : undefined;
}

/** Whether the process of that pid and start time is stopped, by a signal or by a tracer. */
export async function isStopped(pid: number, startTicks: number): Promise<boolean> {
  const fields = await statFields(pid);
  return (fields?.[0] === "T" || fields?.[0] === "t") && Number(fields[19]) === startTicks;
}
