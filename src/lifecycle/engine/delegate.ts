/** Containers under an engine: which runtime takes over, and with which configuration. */

import type { NodeFacts } from "../../host/facts/facts.ts";
import type { BrainLine, CreateRequest } from "../../spec/brain.ts";
import { TripodError } from "../../spec/errors.ts";
import { type FittingVerdict, ociRuntimeKinds } from "../../spec/values.ts";
import type { Bundle } from "./bundle.ts";

type Delegation = Extract<BrainLine, { delegate: unknown }>["delegate"];

/** Throws `monitor-missing`. */
export function delegationOf(
  _bundle: Bundle,
  _request: CreateRequest,
  facts: NodeFacts,
  chosen: FittingVerdict,
): Delegation {
  const kind = ociRuntimeKinds.find((one) => one === chosen.by);
  const found = kind === undefined ? { missing: `${chosen.by} is no OCI runtime` } : facts.ociRuntimes[kind];
  if ("missing" in found) throw new TripodError("monitor-missing", found.missing);
  return { program: found.path };
}
