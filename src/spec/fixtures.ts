/** Sample values for tests: a machine that has everything, and one offer of each kind. */

import { hostPath, untrustedPath } from "./paths.ts";
import type { NetFacts } from "./protocol.ts";
import type { Digest, Facts, Found, Offer, SandboxFile } from "./values.ts";

const found = (path: string): Found => ({ path: hostPath(path), version: "1.0" });

/** A machine with KVM, all programs, and everything else. */
export const richFacts: Facts = {
  arch: "amd64",
  kernelRelease: "6.18.0",
  kvm: { can: "linux", evidence: "a guest ran" },
  monitors: {
    hvt: found("/opt/tripod/bin/tripod-tender"),
    spt: found("/opt/tripod/bin/tripod-tender"),
    qemu: found("/usr/bin/qemu-system-x86_64"),
    firecracker: found("/usr/bin/firecracker"),
    "cloud-hypervisor": found("/usr/bin/cloud-hypervisor"),
  },
  ociRuntimes: { runc: found("/usr/sbin/runc"), crun: found("/usr/bin/crun") },
  cgroups: "v2",
  tun: true,
  overlay: true,
  cniPluginDirs: [hostPath("/usr/lib/cni")],
  userNamespaces: true,
  memoryBytes: 8 * 1024 ** 3,
  cpus: 4,
};

export const manifest = (digit: string): Digest => `sha256:${digit.repeat(64)}`;

export const containerOffer: Offer = { mode: "container", arch: "amd64", manifest: manifest("c") };

export type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

export const sptOffer: UnikernelOffer = {
  mode: "unikernel",
  arch: "amd64",
  manifest: manifest("5"),
  guest: "solo5",
  monitors: ["spt"],
  kernel: untrustedPath("/kernel"),
  bootLine: "ip={ipv4} gateway={gateway4} monitor={monitor} {args}",
  minMemoryBytes: 4 * 1024 ** 2,
  netDevices: ["service0"],
};
export const hvtOffer: UnikernelOffer = { ...sptOffer, manifest: manifest("4"), monitors: ["hvt"] };
const { netDevices: _none, ...withoutDevices } = sptOffer;
export const pvhOffer: UnikernelOffer = {
  ...withoutDevices,
  manifest: manifest("9"),
  guest: "pvh",
  monitors: ["qemu", "firecracker"],
};

/** All ways of one image, as an index lists them. */
export const allOffers: readonly Offer[] = [containerOffer, sptOffer, hvtOffer, pvhOffer];

/** One interface with both families. */
export const dualStack: NetFacts = {
  interfaces: [
    {
      name: "eth0",
      mac: "0a:58:0a:80:00:05",
      mtu: 1450,
      up: true,
      addresses: [
        { family: "ipv4", address: "10.128.0.5", prefix: 20 },
        { family: "ipv6", address: "fd00::5", prefix: 64 },
      ],
    },
  ],
  routes: [
    { family: "ipv4", destination: "0.0.0.0/0", gateway: "10.128.0.1", interface: "eth0" },
    { family: "ipv6", destination: "::/0", gateway: "fd00::1", interface: "eth0" },
  ],
  dns: { servers: ["10.128.0.1"], search: ["example.org"] },
};

export const sandboxFile: SandboxFile = {
  version: 1,
  id: "0123456789abcdef0123456789abcdef",
  namespace: "default",
  name: "web",
  image: { reference: "httpreply", manifest: manifest("5") },
  mode: "unikernel",
  monitor: "spt",
  reason: "asked for",
  createdAt: "2026-01-01T00:00:00Z",
  command: ["port=80"],
  ports: [{ hostPort: 8080, guestPort: 80, protocol: "tcp" }],
  network: "bridge",
  limits: { cpuQuotaUs: 50_000 },
  memoryBytes: 16 * 1024 ** 2,
  vcpus: 1,
  credentials: { uid: 700_001, gid: 700_001, groups: [] },
  labels: {},
  terminal: false,
  removeOnExit: false,
};
