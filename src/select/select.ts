/**
 * The decision: every offer by every monitor or OCI runtime that could run it, each with a verdict, and the chosen one. Total and
 * deterministic; it fails closed: what a wish or a policy demands and this machine cannot give is refused, never weakened.
 *
 * The rules beyond "it must work here":
 * - Two kinds of running are never chosen by themselves, because they are much slower than what they replace: `hvt` on a KVM that was seen to run
 *   only tiny guests (wants `--monitor hvt`; a guest that is not tiny is refused), and a machine emulated in software (wants `--monitor`, or `policy.allow_emulation`). What is
 *   emulated ranks behind everything that is not.
 * - A wish for a monitor is a wish for a mode that has monitors: containers are then refused.
 * - Among what fits, the policy's order decides; within one entry the stronger isolation, then the image's own preference, then the
 *   order of the offers.
 */

import type { MonitorFeatures, Supports } from "../spec/support.ts";
import { exactSize, formatBytes } from "../spec/units.ts";
import {
  type Decision,
  type Digest,
  type Facts,
  type FittingVerdict,
  type GuestKind,
  type Kvm,
  type Mode,
  type MonitorKind,
  type OciRuntimeKind,
  type Offer,
  type Policy,
  type Reason,
  type Verdict,
  type Wish,
  ociRuntimeKinds,
} from "../spec/values.ts";
import { demandsOn } from "./demand.ts";
import { reason } from "./reasons.ts";

export interface SelectInput {
  /** The image's name as the user gave it; the policy's demands are matched against it in every spelling. */
  readonly image: string;
  /** What the name stands for: of the index and of its manifests. */
  readonly digests: readonly Digest[];
  readonly offers: readonly Offer[];
  readonly facts: Facts;
  readonly wish: Wish;
  readonly policy: Policy;
  readonly supports: Supports;
  /** What speaks against an offer's root file system by a monitor; guests know. Default: nothing. */
  readonly againstRoot?: (
    offer: Extract<Offer, { mode: "unikernel" }>,
    features: MonitorFeatures,
  ) => string | undefined;
}

/** Bytes below which no container is made: docker's least. A runtime's own process needs two to three of them before the program begins. */
export const leastContainerBytes = 6 * 1024 * 1024;

/** Guests of which some run by a KVM that runs tiny guests only. */
const tinyGuests: ReadonlySet<GuestKind> = new Set<GuestKind>(["solo5", "pvh"]);

type Runner = MonitorKind | OciRuntimeKind;
type Speed = FittingVerdict["speed"];

/** Within one entry of the policy's order: the smaller the code that the guest can reach, the earlier. */
export const strength: readonly Runner[] = [
  "hvt",
  "firecracker",
  "cloud-hypervisor",
  "qemu",
  "spt",
  ...ociRuntimeKinds,
];

/** Decides. Every offer × runner yields exactly one verdict, in the order of the offers; never throws. */
export function select(input: SelectInput): Decision {
  const judged = input.offers.flatMap((offer, offerIndex) =>
    runnersOf(offer).map((by, preference) => ({
      offer,
      by,
      outcome: judge(input, offer, by),
      key: [
        policyPosition(input.policy, offer.mode, by),
        strength.indexOf(by),
        preference,
        offerIndex,
      ] as const,
    })),
  );
  const ranked = judged
    .flatMap((entry) =>
      typeof entry.outcome === "string" ? [{ entry, key: [emulatedLast(entry.outcome), ...entry.key] }] : [],
    )
    .toSorted((a, b) => compareKeys(a.key, b.key));
  const rankOf = new Map(ranked.map(({ entry }, rank) => [entry, rank]));
  const verdicts = judged.map((entry): Verdict => {
    const { offer, by, outcome } = entry;
    return typeof outcome === "string"
      ? { offer, by, fits: true, rank: rankOf.get(entry) ?? 0, speed: outcome }
      : { offer, by, fits: false, because: outcome };
  });
  const chosen = verdicts.find((verdict) => verdict.fits && verdict.rank === 0);
  return { verdicts, chosen: chosen?.fits === true ? chosen : undefined };
}

const emulatedLast = (speed: Speed): number => (speed === "emulated" ? 1 : 0);

const compareKeys = (a: readonly number[], b: readonly number[]): number => {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
};

/** Who could run an offer: the monitors it names, or any OCI runtime. */
function runnersOf(offer: Offer): readonly Runner[] {
  return offer.mode === "container" ? ociRuntimeKinds : [...new Set(offer.monitors)];
}

/** The place of a mode by a runner in the policy's order, or infinity when it is left out. */
function policyPosition(policy: Policy, mode: Mode, by: Runner): number {
  const index = policy.order.findIndex((choice) => choice === mode || choice === `${mode}/${by}`);
  return index < 0 ? Number.POSITIVE_INFINITY : index;
}

/** The speed it would run at, or the first reason against it. Wishes come before facts: they explain more. */
function judge(input: SelectInput, offer: Offer, by: Runner): Speed | Reason {
  return againstWish(input, offer, by) ?? againstArch(input, offer) ?? howItRuns(input, offer, by);
}

function againstWish(
  { image, digests, wish, policy }: SelectInput,
  offer: Offer,
  by: Runner,
): Reason | undefined {
  if (wish.mode !== "auto" && wish.mode !== offer.mode) return reason("mode-not-wished", wish.mode);
  if (wish.monitor !== undefined && wish.monitor !== by) return reason("monitor-not-wished", wish.monitor);
  if (wish.arch !== undefined && wish.arch !== offer.arch) return reason("arch-not-wished", wish.arch);
  if (wish.containerOnly !== undefined && offer.mode !== "container")
    return reason("container-only", wish.containerOnly);
  const demands = demandsOn(policy.demands, { image, digests });
  const demand = demands.find(({ modes }) => !modes.includes(offer.mode));
  if (demand !== undefined)
    return reason("demand-forbids", `${demand.modes.join(" or ") || "nothing"} for ${demand.image}`);
  if (policyPosition(policy, offer.mode, by) === Number.POSITIVE_INFINITY)
    return reason("policy-forbids", offer.mode === "container" ? offer.mode : `${offer.mode}/${by}`);
  return undefined;
}

function againstArch({ facts }: SelectInput, offer: Offer): Reason | undefined {
  return offer.arch === facts.arch ? undefined : reason("arch-differs", offer.arch);
}

function howItRuns(input: SelectInput, offer: Offer, by: Runner): Speed | Reason {
  const { facts } = input;
  if (facts.cgroups === "none") return reason("cgroups-missing", by);
  if (offer.mode === "container") return asContainer(input, by);
  return asUnikernel(input, offer, by);
}

function asContainer({ facts, wish }: SelectInput, by: Runner): Speed | Reason {
  const tooSmall = belowLeast(wish, leastContainerBytes);
  if (tooSmall !== undefined) return tooSmall;
  const found = ociRuntimeKinds.find((kind) => kind === by);
  const program = found === undefined ? { missing: `${by} is no OCI runtime` } : facts.ociRuntimes[found];
  if ("missing" in program) return reason("runtime-missing", program.missing);
  return aboveMachine(facts, wish.memoryBytes) ?? "process";
}

function asUnikernel(
  { facts, wish, policy, supports, againstRoot }: SelectInput,
  offer: Extract<Offer, { mode: "unikernel" }>,
  by: Runner,
): Speed | Reason {
  const features = supports.find(({ kind }) => kind === by);
  if (features === undefined) return reason("driver-missing", by);
  const arches = features.guests[offer.guest];
  if (arches === undefined) return reason("guest-unsupported", `${offer.guest} on ${by}`);
  if (!arches.includes(offer.arch))
    return reason("monitor-arch-unsupported", `${offer.guest} on ${by} on ${offer.arch}`);
  const rootless = againstRoot?.(offer, features);
  if (rootless !== undefined) return reason("root-unsupported", rootless);
  const unreachable = againstVsock(offer, features);
  if (unreachable !== undefined) return reason("vsock-unsupported", unreachable);
  const program = facts.monitors[features.kind];
  if ("missing" in program) return reason("program-missing", program.missing);
  const hasNet = (offer.netDevices?.length ?? 0) > 0;
  if (hasNet && features.taps === "none") return reason("program-no-network", by);
  if (hasNet && !facts.tun) return reason("tun-missing", by);
  const memory =
    belowLeast(wish, offer.minMemoryBytes) ??
    aboveMachine(facts, Math.max(offer.minMemoryBytes ?? 0, wish.memoryBytes ?? 0));
  if (memory !== undefined) return memory;
  if (features.kvm === "required" && facts.kvm.can === "tiny" && !tinyGuests.has(offer.guest))
    return reason("kvm-too-small", offer.guest);
  return speedWith(features.kvm, facts.kvm, { asked: wish.monitor === by, policy, by });
}

/** What speaks against the vsock by which a guest would call its accelerator, whose address is of the kind that the monitor has. */
function againstVsock(
  { vaccel }: Extract<Offer, { mode: "unikernel" }>,
  { kind, vsock }: MonitorFeatures,
): string | undefined {
  if (vaccel === undefined || vsock === (vaccel.socketDir === undefined ? "kernel" : "socket"))
    return undefined;
  if (vsock === undefined) return `${kind} gives a guest no vsock, by which it would call its accelerator`;
  const form = vsock === "kernel" ? "vsock://2:<port>" : "unix://<directory>/vaccel.sock_<port>";
  return `by ${kind} a guest calls the accelerator at an RPCAddress of the form ${form}`;
}

function speedWith(
  needs: "required" | "optional" | "unused",
  kvm: { readonly can: Kvm; readonly evidence: string },
  { asked, policy, by }: { readonly asked: boolean; readonly policy: Policy; readonly by: Runner },
): Speed | Reason {
  if (needs === "unused") return "process";
  if (kvm.can === "linux") return "hardware";
  if (needs === "required") {
    if (kvm.can === "none") return reason("kvm-none", kvm.evidence);
    return asked ? "hardware" : reason("kvm-tiny", by);
  }
  return asked || policy.allowEmulation ? "emulated" : reason("emulation-forbidden", by);
}

function belowLeast({ memoryBytes }: Wish, leastBytes: number | undefined): Reason | undefined {
  if (leastBytes === undefined || memoryBytes === undefined || memoryBytes >= leastBytes) return undefined;
  return reason(
    "memory-too-small",
    `${exactSize(leastBytes)} of memory, ${exactSize(memoryBytes)} was asked for`,
  );
}

function aboveMachine(facts: Facts, wantedBytes: number | undefined): Reason | undefined {
  return (wantedBytes ?? 0) > facts.memoryBytes
    ? reason("memory-too-large", formatBytes(facts.memoryBytes))
    : undefined;
}
