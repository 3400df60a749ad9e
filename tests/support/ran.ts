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

const linuxOn = (monitor: MonitorKind, root: RootKind, test = "tests/integration/monitors.test.ts"): Ran => ({
  guest: "linux",
  monitor,
  arch: "amd64",
  root,
  test,
});

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
  ...(["qemu", "firecracker"] as const).map((monitor): Ran => ({
    guest: "pvh",
    monitor,
    arch: "amd64",
    root: "none",
    test: "tests/integration/httpreply.test.ts",
  })),
  {
    guest: "pvh",
    monitor: "cloud-hypervisor",
    arch: "amd64",
    root: "none",
    test: "tests/contract/cloud-hypervisor.test.ts",
  },
  { guest: "pvh", monitor: "qemu", arch: "arm64", root: "none", test: "tests/contract/arm64.test.ts" },
  { guest: "linux", monitor: "qemu", arch: "amd64", root: "initrd", test: "tests/contract/linux.test.ts" },
  ...(["disk", "9p", "virtiofs"] as const).map((root) => linuxOn("qemu", root)),
  ...(["disk", "9p", "virtiofs"] as const).map((root) => linuxOn("qemu", root, "tests/linux/roots.test.ts")),
  linuxOn("firecracker", "disk"),
  ...(["disk", "virtiofs"] as const).map((root) => linuxOn("cloud-hypervisor", root)),
];
