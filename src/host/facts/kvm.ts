/** What a guest does under this machine's KVM: seen by running one, since a file that opens proves nothing. */

import * as v from "valibot";
import { TripodError } from "../../spec/errors.ts";
import type { HostPath } from "../../spec/paths.ts";
import type { Facts } from "../../spec/values.ts";
import { runProgram } from "../process.ts";

/** Milliseconds; the tender gives each guest a deadline of its own of about 2 s. */
const deadlineMs = 10_000;

const answer = v.object({
  kvm: v.picklist(["none", "tiny", "linux"]),
  evidence: v.pipe(v.string(), v.maxLength(2000)),
});

/** Runs `tripod-tender probe-kvm`. Whatever goes wrong counts as no KVM, with the reason as evidence. */
export async function probeKvm(tender: HostPath): Promise<Facts["kvm"]> {
  try {
    const result = await runProgram(tender, ["probe-kvm"], { deadlineMs, maxOutputBytes: 64 << 10 });
    if (result.code !== 0)
      return {
        can: "none",
        evidence: `the probe ended with ${result.code}: ${result.stderr.trim().slice(0, 300)}`,
      };
    const said = v.parse(answer, JSON.parse(result.stdout));
    return { can: said.kvm, evidence: said.evidence };
  } catch (error) {
    if (error instanceof TripodError) return { can: "none", evidence: `the probe failed: ${error.message}` };
    if (error instanceof SyntaxError || v.isValiError(error))
      return { can: "none", evidence: `the probe's answer could not be read: ${error.message}` };
    throw error;
  }
}
