/** Steps 3 to 5 of the walk: an image's offers, the node's facts, the decision. `run`, `--dry-run` and `explain` share it. */

import { guestDriver } from "../guest/index.ts";
import { rootOf } from "../guest/root.ts";
import { type NodeFacts, gatherFacts } from "../host/facts/facts.ts";
import { type Image, offersOf } from "../image/image.ts";
import type { Offers } from "../image/offers.ts";
import type { Store } from "../image/store.ts";
import { supportsOf } from "../monitor/index.ts";
import { select } from "../select/select.ts";
import { present } from "../spec/present.ts";
import type { MonitorFeatures } from "../spec/support.ts";
import type { Decision, Offer, Wish } from "../spec/values.ts";
import type { Context } from "./context.ts";
import type { Stages } from "./stages.ts";

type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

export interface Decided {
  readonly offers: Offers;
  readonly facts: NodeFacts;
  readonly decision: Decision;
}

export interface DecideOptions {
  readonly wish: Wish;
  /** Called before a first probe of the machine, which takes a moment. */
  readonly onProbe?: () => void;
  readonly stages?: Stages;
}

/** Decides. Never throws for what does not fit: the decision says so. The caller holds a lease of the store. */
export async function decide(
  context: Context,
  store: Store,
  image: Image,
  options: DecideOptions,
): Promise<Decided> {
  const offers = await offersOf(store, image, { warden: context.programs.warden });
  options.stages?.end("image");
  const facts = await gatherFacts({
    ...context,
    ...(options.onProbe === undefined ? {} : { onProbe: options.onProbe }),
  });
  options.stages?.end("facts");
  const decision = select({
    image: image.reference,
    digests: [image.digest, ...image.entries.map(({ descriptor }) => descriptor.digest)],
    offers: offers.offers,
    facts,
    wish: options.wish,
    policy: context.config.policy,
    supports: supportsOf(facts.monitors, facts.others.virtiofsd),
    againstRoot: (offer, features) => againstRoot(offer, features),
  });
  options.stages?.end("decide");
  return { offers, facts, decision };
}

/**
 * Whether the guest can have its root where the image says, by this monitor. `snapshot`: the file system of the disk of its own that the image's root lies on;
 * whatever lies in our store is none.
 */
export function againstRoot(
  offer: UnikernelOffer,
  { shares }: MonitorFeatures,
  snapshot?: string,
): string | undefined {
  const guest = guestDriver(offer.guest);
  const choice = guest === undefined ? undefined : rootOf({ offer, guest, shares, ...present({ snapshot }) });
  return choice !== undefined && "because" in choice ? choice.because : undefined;
}
