/**
 * Which guest was seen to run by which monitor, with its root on what, and by which test: a column of docs/support.md. A pair is added together with the test
 * that runs it, real guest and real monitor both.
 */

import type { Arch, GuestKind, MonitorKind, RootKind } from "../../src/spec/values.ts";

export interface Ran {
  readonly guest: GuestKind;
  readonly monitor: MonitorKind;
  readonly arch: Arch;
  readonly root: RootKind;
  /** Path of the test in this repository. */
  readonly test: string;
}

export const ran: readonly Ran[] = [
  {
    guest: "solo5",
    monitor: "spt",
    arch: "amd64",
    root: "none",
    test: "tests/integration/httpreply.test.ts",
  },
  {
    guest: "solo5",
    monitor: "hvt",
    arch: "amd64",
    root: "none",
    test: "tests/integration/httpreply.test.ts",
  },
  { guest: "pvh", monitor: "qemu", arch: "amd64", root: "none", test: "tests/integration/httpreply.test.ts" },
];
