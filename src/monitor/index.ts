/** All monitors that Tripod can drive, and which guest runs by which of them where: the support table, derived from what the drivers declare. */

import type { Supports } from "../spec/support.ts";
import type { Facts, Found, MonitorKind, ShareKind } from "../spec/values.ts";
import type { MonitorDriver } from "./monitor.ts";
import { cloudHypervisor } from "./cloud-hypervisor/cloud-hypervisor.ts";
import { firecracker } from "./firecracker/firecracker.ts";
import { qemu } from "./qemu/qemu.ts";
import { isSolo5Program, solo5Program, tender } from "./solo5.ts";

/** By our own tender and the installed programs. */
export const monitors: readonly MonitorDriver[] = [
  tender("hvt"),
  tender("spt"),
  qemu,
  firecracker,
  cloudHypervisor,
];
/** By Solo5's own tenders, where the operator chose them. */
export const solo5Programs: readonly MonitorDriver[] = [solo5Program("hvt"), solo5Program("spt")];

/** The driver of a monitor whose program lies at `program`; undefined for a monitor without one. */
export function monitorDriver(kind: MonitorKind, program: string): MonitorDriver | undefined {
  const drivers = isSolo5Program(program) ? solo5Programs : monitors;
  return drivers.find((driver) => driver.features.kind === kind);
}

/** What an exit status of a monitor's own says, if it says anything. */
export const exitMeaning = (kind: string, status: number): string | undefined =>
  monitors.find(({ features }) => features.kind === kind)?.exitMeanings?.[status];

/** What the monitors found on this machine can do. A missing program keeps its driver's row, so that its verdict can say what is missing. */
export const supportsOf = (found: Facts["monitors"], shareServer: Found): Supports =>
  monitors.map(({ features }) => {
    const program = found[features.kind];
    const own =
      "path" in program ? (monitorDriver(features.kind, program.path)?.features ?? features) : features;
    return { ...own, shares: sharesBy(own.shares, "path" in shareServer) };
  });

/** The ways to give a guest a directory that are to be had: virtiofs by its server only. */
export const sharesBy = (shares: readonly ShareKind[], hasServer: boolean): readonly ShareKind[] =>
  hasServer ? shares : shares.filter((kind) => kind !== "virtiofs");
