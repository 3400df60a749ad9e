/** Looks at the node: all probes, most side by side. Slow (up to seconds), so its answer is cached (`cache.ts`). */

import type { HostPath } from "../../spec/paths.ts";
import type { Found, OciRuntimeKind } from "../../spec/values.ts";
import { probeCni } from "./cni.ts";
import type { NodeFacts, ProbeInput } from "./fact.ts";
import { probeIptables } from "./iptables.ts";
import { probeKvm } from "./kvm.ts";
import { machineFacts } from "./machine.ts";
import { probeOciRuntime } from "./oci-runtimes.ts";
import { probeOverlay } from "./overlay.ts";
import { type ProgramName, findPrograms, notFound, programVersion, shareServerVersion } from "./programs.ts";
import { probeSeccomp } from "./seccomp.ts";
import { probeTun } from "./tun.ts";
import { probeUserNamespaces } from "./user-namespaces.ts";

/** Probes everything. What does not work is a fact, not an error; throws only `setup-missing` on an unknown architecture. */
export async function probeFacts(input: ProbeInput): Promise<NodeFacts> {
  const machine = machineFacts();
  const paths = findPrograms(input, machine.arch);
  const look = async (
    name: ProgramName,
    probe: (path: HostPath) => Promise<Found> = programVersion,
  ): Promise<Found> => {
    const path = paths.get(name);
    return path === undefined ? notFound(input, name, machine.arch) : await probe(path);
  };
  const runtime = (kind: OciRuntimeKind): Promise<Found> =>
    look(kind, (path) => probeOciRuntime(input, kind, path, machine.arch));
  const cni = probeCni(input.cniDirs);
  const tun = probeTun();
  const [kvm, overlay, userNamespaces, runc, crun] = await Promise.all([
    probeKvm(input.programs.tender),
    probeOverlay(input),
    probeUserNamespaces(input.dirs),
    runtime("runc"),
    runtime("crun"),
  ]);
  const [tender, hvt, spt, qemu, firecracker, cloudHypervisor, solo5Hvt, solo5Spt, iptables, virtiofsd] =
    await Promise.all([
      programVersion(input.programs.tender),
      look("hvt"),
      look("spt"),
      look("qemu"),
      look("firecracker"),
      look("cloud-hypervisor"),
      look("solo5-hvt"),
      look("solo5-spt"),
      look("iptables", probeIptables),
      look("virtiofsd", shareServerVersion),
    ]);
  return {
    ...machine,
    probed: true,
    kvm,
    monitors: { hvt, spt, qemu, firecracker, "cloud-hypervisor": cloudHypervisor },
    ociRuntimes: { runc, crun },
    tender,
    others: { "solo5-hvt": solo5Hvt, "solo5-spt": solo5Spt, iptables, virtiofsd },
    tun: tun.works,
    overlay: overlay.works,
    userNamespaces: userNamespaces.works,
    cniPluginDirs: cni.pluginDirs,
    seen: { tun, overlay, userNamespaces, cni: cni.seen, seccomp: probeSeccomp() },
  };
}
