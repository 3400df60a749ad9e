/** A decision for people: one line, a table, or the error when nothing fits. All read from the verdicts; nothing is explained twice. */

import { type ErrorCode, TripodError } from "../spec/errors.ts";
import type { Decision, FittingVerdict, Verdict, Wish } from "../spec/values.ts";
import { because } from "./reasons.ts";
import { strength } from "./select.ts";

const merits: Readonly<Record<FittingVerdict["speed"], string>> = {
  hardware: "virtual machine by KVM",
  process: "full speed",
  emulated: "emulated in software",
};

/** Refusals that say nothing new to someone who stated the wish. */
const ownDoing: ReadonlySet<string> = new Set([
  "mode-not-wished",
  "monitor-not-wished",
  "arch-not-wished",
  "arch-differs",
]);

/** Nor does a runner that nobody could have used here. */
const untold: ReadonlySet<string> = new Set([...ownDoing, "driver-missing", "guest-unsupported"]);

const how = (verdict: Verdict): string => `${verdict.offer.mode} by ${verdict.by}`;

/**
 * Which and why, in one line without a full stop, e.g.
 * `unikernel by spt: strongest isolation that runs at full speed here (hvt: KVM runs only tiny guests)`. `undefined` chosen: the first line of the refusal.
 */
export function sentence(decision: Decision, wish: Wish = { mode: "auto" }): string {
  const { chosen } = decision;
  if (chosen === undefined) return "nothing fits";
  return `${how(chosen)}: ${merit(decision, chosen, wish)}${besides(decision, chosen)}`;
}

function merit(decision: Decision, chosen: FittingVerdict, wish: Wish): string {
  const rivals = decision.verdicts.filter((verdict) => verdict.fits && verdict !== chosen);
  if (wish.monitor !== undefined) return `asked for, ${merits[chosen.speed]}`;
  if (wish.mode !== "auto")
    return rivals.length === 0 ? "asked for" : `asked for, the policy's first choice of ${rivals.length + 1}`;
  if (decision.verdicts.length === 1) return "the only way this image offers";
  if (chosen.speed === "emulated") return "nothing else fits, and the policy allows emulation";
  return chosen.offer.mode === "container" && rivals.every(({ offer }) => offer.mode === "container")
    ? "the only mode that runs here"
    : "strongest isolation that runs at full speed here";
}

/** Why runners of stronger isolation were not taken: at most two, each once. */
function besides(decision: Decision, chosen: FittingVerdict): string {
  const told = new Map<string, string>();
  const weaker = strength.slice(strength.indexOf(chosen.by));
  for (const verdict of decision.verdicts)
    if (!verdict.fits && !weaker.includes(verdict.by) && !untold.has(verdict.because.code))
      told.set(verdict.by, told.get(verdict.by) ?? because(verdict.because));
  const parts = [...told].slice(0, 2).map(([by, why]) => `${by}: ${why}`);
  return parts.length === 0 ? "" : ` (${parts.join("; ")})`;
}

/** One row of `tripod explain`. */
export interface ExplainRow {
  readonly chosen: boolean;
  readonly mode: string;
  readonly guest: string;
  readonly arch: string;
  readonly by: string;
  readonly fits: boolean;
  /** 1 is the first choice; undefined when refused. */
  readonly place: number | undefined;
  readonly speed: string;
  /** Why it is refused, or what it has. */
  readonly why: string;
  readonly remedy: string;
  readonly manifest: string;
}

const place = (verdict: Verdict): number => (verdict.fits ? verdict.rank : Number.MAX_SAFE_INTEGER);

/** Every verdict as a row: the fitting ones by rank, then the refused ones in the image's order. */
export function explainRows(decision: Decision): ExplainRow[] {
  return decision.verdicts
    .toSorted((a, b) => place(a) - place(b))
    .map((verdict) => ({
      chosen: verdict === decision.chosen,
      mode: verdict.offer.mode,
      guest: verdict.offer.mode === "unikernel" ? verdict.offer.guest : "linux process",
      arch: verdict.offer.arch,
      by: verdict.by,
      fits: verdict.fits,
      place: verdict.fits ? verdict.rank + 1 : undefined,
      speed: verdict.fits ? verdict.speed : "",
      why: verdict.fits ? merits[verdict.speed] : because(verdict.because),
      remedy: verdict.fits ? "" : (verdict.because.remedy ?? ""),
      manifest: verdict.offer.manifest,
    }));
}

type Refused = Extract<Verdict, { fits: false }>;

/** The error when nothing fits: what was wanted, every runner's reason, and the remedy of the closest miss. */
export function noFit(image: string, decision: Decision, wish: Wish): TripodError {
  const refused = decision.verdicts.filter((verdict): verdict is Refused => !verdict.fits);
  if (refused.length === 0) return new TripodError("no-fit", `${image} offers no way to run that is known`);
  const telling = refused.filter(({ because: { code } }) => !ownDoing.has(code));
  const wanted = [
    ...(wish.mode === "auto" ? [] : [`as a ${wish.mode}`]),
    ...(wish.monitor === undefined ? [] : [`by ${wish.monitor}`]),
  ];
  const shown = telling.length > 0 ? telling : refused;
  const why =
    telling.length === 0 && wanted.length > 0
      ? `it offers ${[...new Set(refused.map(shortName))].join(", ")}`
      : shown.map((verdict) => `${verdict.by}: ${because(verdict.because)}`).join("; ");
  const remedy = shown.find((verdict) => verdict.because.remedy !== undefined)?.because.remedy;
  return new TripodError(
    errorCode(telling),
    `${[image, "does not run", ...wanted, "here"].join(" ")}: ${why}`,
    { hint: remedy ?? `tripod explain ${image}` },
  );
}

const shortName = ({ offer, by }: Verdict): string =>
  offer.mode === "container" ? offer.mode : `${offer.mode}/${by}`;

/** A code of its own where all reasons are of one kind. */
function errorCode(refused: readonly Refused[]): ErrorCode {
  const all = (...codes: readonly string[]): boolean =>
    refused.length > 0 && refused.every((verdict) => codes.includes(verdict.because.code));
  if (all("kvm-none")) return "kvm-unavailable";
  if (all("program-missing", "runtime-missing")) return "monitor-missing";
  return all("memory-too-small") ? "memory-too-small" : "no-fit";
}
