/** Whether iptables works: the CNI plugins bridge, portmap and firewall call it for masquerading, ports and admission. */

import type { HostPath } from "../../spec/paths.ts";
import type { Found } from "../../spec/values.ts";
import { TripodError } from "../../spec/errors.ts";
import { runProgram } from "../process.ts";
import { programVersion } from "./programs.ts";

const deadlineMs = 10_000;

/** Lists a chain that every kernel with NAT has; changes nothing. `-w` waits for others that hold the table's lock. */
export async function probeIptables(path: HostPath): Promise<Found> {
  const found = await programVersion(path);
  if ("missing" in found) return found;
  try {
    const result = await runProgram(path, ["-w", "5", "-t", "nat", "-S", "POSTROUTING"], { deadlineMs });
    if (result.code === 0) return found;
    return { missing: `${path} cannot list the nat table: ${result.stderr.trim().slice(0, 300)}` };
  } catch (error) {
    if (error instanceof TripodError) return { missing: error.message };
    throw error;
  }
}
