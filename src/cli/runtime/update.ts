/** `update`: an engine's JSON by `--resources`, or runc's flags. */

import { readFileSync } from "node:fs";
import type { NewLimits } from "../../host/cgroup-limits.ts";
import { engineSandbox } from "../../lifecycle/engine/sandbox.ts";
import { limitsOfResources, updateEngineSandbox } from "../../lifecycle/engine/update.ts";
import { TripodError, errnoOf } from "../../spec/errors.ts";
import { present } from "../../spec/present.ts";
import { parseSize } from "../../spec/units.ts";
import type { RuntimeCall } from "./arguments.ts";
import { type Verb, soleId } from "./answer.ts";

/** Flags of runc's that no monitor's cgroup has a use for. */
const meaningless = [
  "blkio-weight",
  "cpu-burst",
  "cpu-idle",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "kernel-memory",
  "kernel-memory-tcp",
  "l3-cache-schema",
  "mem-bw-schema",
];

export const update: Verb = async (call) => {
  const sandbox = await engineSandbox(call.root, soleId(call));
  const { resources } = call.flags;
  await updateEngineSandbox(
    sandbox,
    typeof resources === "string" ? limitsOfResources(readResources(resources)) : limitsOfFlags(call.flags),
  );
};

function readResources(file: string): unknown {
  const what = file === "-" ? "the resources on stdin" : file;
  try {
    return JSON.parse(readFileSync(file === "-" ? 0 : file, "utf8"));
  } catch (cause) {
    throw new TripodError(
      "usage",
      `${what} cannot be read: ${errnoOf(cause) ?? (cause instanceof Error ? cause.message : String(cause))}`,
      { cause },
    );
  }
}

function limitsOfFlags(flags: RuntimeCall["flags"]): NewLimits {
  const useless = meaningless.find((name) => flags[name] !== undefined);
  if (useless !== undefined) throw new TripodError("usage", `--${useless} has no meaning for a unikernel`);
  const given = (name: string): string | undefined => {
    const value = flags[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const size = (name: string): number | undefined => {
    const value = given(name);
    return value === undefined ? undefined : value === "-1" ? -1 : parseSize(value, `--${name}`);
  };
  const whole = (name: string): number | undefined => {
    const value = given(name);
    if (value === undefined || value === "0") return undefined;
    if (/^(-1|\d{1,15})$/.test(value)) return Number(value);
    throw new TripodError("usage", `invalid value for ${name}: ${JSON.stringify(value.slice(0, 60))}`);
  };
  return present({
    memoryBytes: size("memory"),
    memoryReservationBytes: size("memory-reservation"),
    cpuQuotaUs: whole("cpu-quota"),
    cpuPeriodUs: whole("cpu-period"),
    cpuShares: whole("cpu-share"),
    cpusetCpus: given("cpuset-cpus"),
    cpusetMems: given("cpuset-mems"),
    pids: whole("pids-limit"),
  });
}
