/** Containers under an engine: which runtime takes over, and with which configuration. */

import { mkdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { NodeFacts } from "../../host/facts/facts.ts";
import { runtimeFeatures } from "../../host/runtime-features.ts";
import type { BrainLine, CreateRequest } from "../../spec/brain.ts";
import { TripodError } from "../../spec/errors.ts";
import { type HostPath, hostPath } from "../../spec/paths.ts";
import { type FittingVerdict, ociRuntimeKinds } from "../../spec/values.ts";
import type { Bundle } from "./bundle.ts";
import type { Context } from "../context.ts";
import { type DerivedConfig, deriveConfig, hasNewParts } from "./derive.ts";
import { isQueueProxy, podAddresses } from "./pod.ts";

type Delegation = Extract<BrainLine, { delegate: unknown }>["delegate"];

/**
 * A bundle that the runtime does not understand in full is written anew for it, beside the state directory and not into the engine's own. Throws `monitor-missing`,
 * `bundle-invalid`.
 */
export async function delegationOf(
  bundle: Bundle,
  request: Pick<CreateRequest, "stateDir" | "id" | "guests">,
  facts: NodeFacts,
  chosen: Pick<FittingVerdict, "by">,
  { roots: { lib }, config }: Context,
): Promise<Delegation> {
  const kind = ociRuntimeKinds.find((one) => one === chosen.by);
  const found = kind === undefined ? { missing: `${chosen.by} is no OCI runtime` } : facts.ociRuntimes[kind];
  if ("missing" in found) throw new TripodError("monitor-missing", found.missing);
  const program = found.path;
  const derived = await derivedFor(bundle, request, program, { roots: { lib }, config });
  if (derived === undefined) return { program };
  return {
    program,
    bundle: writeDerived(derivedBundleOf(request.stateDir), derived.config),
    notes: `for ${program}: ${derived.notes.join("; ")}`,
  };
}

/** The configuration as the runtime understands it; undefined where it can have it as it is. Throws `bundle-invalid`. */
export async function derivedFor(
  bundle: Bundle,
  { id, guests }: Pick<CreateRequest, "id" | "guests">,
  program: HostPath,
  { roots: { lib }, config }: { readonly roots: Pick<Context["roots"], "lib"> } & Pick<Context, "config">,
): Promise<DerivedConfig | undefined> {
  const guest =
    isQueueProxy(bundle.config) && guests > 0
      ? podAddresses(bundle.config, id, config.network.natPool).guest
      : undefined;
  if (guest === undefined && !hasNewParts(bundle.config)) return undefined;
  const features = await runtimeFeatures(lib, program);
  const understood = {
    ociVersionMax: features.ociVersionMax,
    namespaces: features.linux?.namespaces ?? [],
  };
  return deriveConfig(bundle.raw, bundle.dir, understood, guest);
}

/** The warden removes it with the container (`native/warden/src/runtime/store.rs`). */
const derivedBundleOf = (stateDir: HostPath): HostPath =>
  hostPath(join(dirname(stateDir), `.${basename(stateDir)}.tripod.bundle`));

function writeDerived(dir: HostPath, config: unknown): HostPath {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // Secrets may be in its environment.
  writeFileSync(join(dir, "config.json"), JSON.stringify(config), { mode: 0o600 });
  return dir;
}
