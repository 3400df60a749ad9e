/** The rows of `tripod check`: what this machine can do, how that was seen, and what to do about the rest. */

import { accessSync, constants, mkdirSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf } from "../spec/errors.ts";
import type { HostPath } from "../spec/paths.ts";
import { formatBytes } from "../spec/units.ts";
import type { Found, MonitorKind, OciRuntimeKind } from "../spec/values.ts";
import type { NodeFacts, Seen } from "./facts/facts.ts";

/** `ok`: works; `warn`: works in part, or something is slower or weaker for want of it; `missing`: not there, or does not work. */
export type CheckVerdict = "ok" | "warn" | "missing";

export interface CheckRow {
  readonly id: string;
  /** What it is, for people. */
  readonly title: string;
  readonly verdict: CheckVerdict;
  readonly evidence: string;
  /** Empty when there is nothing to do. */
  readonly remedy: string;
}

/** What the state directories are like: looked at anew each time, a disk fills quickly. */
export interface DiskFacts {
  readonly run: string | undefined;
  readonly lib: string | undefined;
  readonly freeBytes: number | undefined;
}

/** Less than this for images and layers is worth a word, bytes. */
const comfortableBytes = 2 * 2 ** 30;
/** Less than this holds no image, bytes. */
const leastBytes = 100 * 2 ** 20;

/** Tries the state directories; each field of a directory is the trouble with it, or undefined. */
export function lookAtDisk(roots: { readonly run: HostPath; readonly lib: HostPath }): DiskFacts {
  return { run: writeTrouble(roots.run), lib: writeTrouble(roots.lib), freeBytes: freeBytesAt(roots.lib) };
}

/** Why a directory cannot be made or written, or undefined. */
function writeTrouble(dir: HostPath): string | undefined {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    accessSync(dir, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}

/** Bytes that we may write on the file system of a directory, or of its nearest ancestor that is there. */
function freeBytesAt(dir: string): number | undefined {
  for (let at = dir; ; at = dirname(at)) {
    try {
      const { bavail, bsize } = statfsSync(at);
      return bavail * bsize;
    } catch {
      if (at === "/") return undefined;
    }
  }
}

/** All rows, in the order in which they matter. Pure. */
export function check(
  facts: NodeFacts,
  disk: DiskFacts,
  roots: { readonly run: HostPath; readonly lib: HostPath },
): readonly CheckRow[] {
  return [
    stateRow("state", "state directory", roots.run, disk.run),
    stateRow("images", "image store", roots.lib, disk.lib),
    diskRow(disk, roots.lib),
    kvmRow(facts),
    seenRow(
      "tun",
      "tap devices",
      facts.seen.tun,
      "missing",
      "modprobe tun; without it no unikernel has a network",
    ),
    cgroupRow(facts),
    seenRow(
      "overlayfs",
      "overlay file system",
      facts.seen.overlay,
      "warn",
      "modprobe overlay; until then layers are copied",
    ),
    seenRow(
      "seccomp",
      "seccomp filters",
      facts.seen.seccomp,
      "missing",
      "use a kernel with CONFIG_SECCOMP_FILTER",
    ),
    seenRow(
      "user-namespaces",
      "user namespaces",
      facts.seen.userNamespaces,
      "warn",
      "sysctl -w user.max_user_namespaces=10000; only mapped sandboxes need them",
    ),
    runtimeRow("runc", facts, "crun"),
    runtimeRow("crun", facts, "runc"),
    foundRow("tripod-tender", "our tender, for hvt and spt", facts.tender, "script/setup"),
    foundRow("qemu", "QEMU", facts.monitors.qemu, qemuPackage[facts.arch]),
    foundRow(
      "solo5-hvt",
      "Solo5's own tender, hvt",
      facts.others["solo5-hvt"],
      "optional: ours does the same",
    ),
    foundRow(
      "solo5-spt",
      "Solo5's own tender, spt",
      facts.others["solo5-spt"],
      "optional: ours does the same",
    ),
    foundRow("firecracker", "Firecracker", facts.monitors.firecracker, optionalMonitor("firecracker")),
    foundRow(
      "cloud-hypervisor",
      "Cloud Hypervisor",
      facts.monitors["cloud-hypervisor"],
      optionalMonitor("cloud-hypervisor"),
    ),
    foundRow(
      "virtiofsd",
      "directories for guests",
      facts.others.virtiofsd,
      "optional: apt-get install virtiofsd; guests with a directory by virtiofs need it",
    ),
    seenRow(
      "cni",
      "network plugins",
      facts.seen.cni,
      "missing",
      "apt-get install containernetworking-plugins; until then only --network none works",
    ),
    foundRow(
      "iptables",
      "iptables",
      facts.others.iptables,
      "apt-get install iptables; the network plugins call it",
    ),
  ];
}

const optionalMonitor = (kind: MonitorKind): string =>
  `optional: put it on PATH, or name it in the configuration, [monitors.${kind}] path`;
const qemuPackage = {
  amd64: "apt-get install qemu-system-x86",
  arm64: "apt-get install qemu-system-arm",
} as const;

/** Whether any mode runs here: a container's runtime, or a monitor that needs nothing more than what was seen. */
export function someModeRuns(facts: NodeFacts): boolean {
  const container = works(facts.ociRuntimes.runc) || works(facts.ociRuntimes.crun);
  const unikernel = (works(facts.monitors.spt) && facts.seen.seccomp.works) || works(facts.monitors.qemu);
  return container || unikernel;
}

const works = (found: Found): boolean => "path" in found;

const seenRow = (
  id: string,
  title: string,
  seen: Seen,
  otherwise: CheckVerdict,
  remedy: string,
): CheckRow => ({
  id,
  title,
  verdict: seen.works ? "ok" : otherwise,
  evidence: seen.evidence,
  remedy: seen.works ? "" : remedy,
});

const foundRow = (id: string, title: string, found: Found, remedy: string): CheckRow =>
  "path" in found
    ? { id, title, verdict: "ok", evidence: `${found.path}, version ${found.version}`, remedy: "" }
    : { id, title, verdict: "missing", evidence: found.missing, remedy };

/** One working runtime is enough; a second that does not work is nothing to mend. */
function runtimeRow(id: OciRuntimeKind, facts: NodeFacts, other: OciRuntimeKind): CheckRow {
  const enough = "path" in facts.ociRuntimes[other];
  const remedy = enough
    ? `nothing to do: ${other} works`
    : `apt-get install ${id}; container mode needs it or ${other}`;
  return foundRow(id, `containers by ${id}`, facts.ociRuntimes[id], remedy);
}

function kvmRow({ kvm }: NodeFacts): CheckRow {
  const base = { id: "kvm", title: "KVM, by a guest run under it", evidence: `${kvm.can}: ${kvm.evidence}` };
  switch (kvm.can) {
    case "linux":
      return { ...base, verdict: "ok", remedy: "" };
    case "tiny":
      return {
        ...base,
        verdict: "warn",
        remedy:
          "small unikernels run under it when asked for (--monitor hvt); for more use a machine with hardware virtualisation",
      };
    case "none":
      return {
        ...base,
        verdict: "missing",
        remedy:
          "turn virtualisation on in the firmware or the outer hypervisor, then modprobe kvm_intel or kvm_amd",
      };
  }
}

const cgroupEvidence = {
  v2: "cgroup version 2",
  v1: "cgroup version 1",
  hybrid: "cgroup version 1 controllers beside a version 2 tree",
  none: "no cgroup file system at /sys/fs/cgroup",
} as const;

function cgroupRow({ cgroups }: NodeFacts): CheckRow {
  const base = { id: "cgroups", title: "control groups", evidence: cgroupEvidence[cgroups] };
  if (cgroups === "v1" || cgroups === "v2") return { ...base, verdict: "ok", remedy: "" };
  return cgroups === "hybrid"
    ? {
        ...base,
        verdict: "warn",
        remedy: "works; crun refuses it. Boot with systemd.unified_cgroup_hierarchy=1 for version 2",
      }
    : { ...base, verdict: "missing", remedy: "mount -t cgroup2 cgroup2 /sys/fs/cgroup" };
}

function stateRow(id: string, title: string, dir: HostPath, trouble: string | undefined): CheckRow {
  return trouble === undefined
    ? { id, title, verdict: "ok", evidence: `${dir} is writable`, remedy: "" }
    : {
        id,
        title,
        verdict: "missing",
        evidence: `${dir} cannot be written: ${trouble}`,
        remedy: "run as root, or choose another --root",
      };
}

function diskRow({ freeBytes }: DiskFacts, lib: HostPath): CheckRow {
  const base = { id: "disk", title: "disk space" };
  if (freeBytes === undefined)
    return { ...base, verdict: "warn", evidence: `${lib} could not be looked at`, remedy: "" };
  const evidence = `${formatBytes(freeBytes)} free for ${lib}`;
  if (freeBytes >= comfortableBytes) return { ...base, verdict: "ok", evidence, remedy: "" };
  return {
    ...base,
    verdict: freeBytes >= leastBytes ? "warn" : "missing",
    evidence,
    remedy: "tripod rmi what is not needed, or choose another --root",
  };
}
