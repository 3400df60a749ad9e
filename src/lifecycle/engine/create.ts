/**
 * `create` under an engine: one conversation with `tripod-runtime` over one stream (`spec/brain.ts`). A container is handed to its runtime; of a
 * unikernel the ground is prepared, its network looked at and the sandbox launched, as `run` does it.
 */

import type { Duplex } from "node:stream";
import { type NodeFacts, cachedFacts, gatherFacts } from "../../host/facts/facts.ts";
import { deviceMountOf } from "../../host/mounts.ts";
import { WardenConnection } from "../../host/warden.ts";
import { launch, prepare } from "../../mode/index.ts";
import type { LaunchPlan, ModeInput } from "../../mode/input.ts";
import { supportsOf } from "../../monitor/index.ts";
import { noFit } from "../../select/explain.ts";
import { select } from "../../select/select.ts";
import { uruncPrefix } from "../../spec/annotations.ts";
import { type BrainLine, type CreateRequest, decodeCreateRequest } from "../../spec/brain.ts";
import { TripodError } from "../../spec/errors.ts";
import type { Plan } from "../../spec/plan.ts";
import type { Decision, FittingVerdict, SandboxFile, Offer, Wish } from "../../spec/values.ts";
import { monitorKinds } from "../../spec/values.ts";
import type { Context } from "../context.ts";
import { againstRoot } from "../decide.ts";
import { updateSandboxFile } from "../store.ts";
import { type Bundle, imageNameOf, offersOfBundle, readBundle } from "./bundle.ts";
import { composeBundle } from "./compose.ts";
import { delegationOf } from "./delegate.ts";

/** Carries out one conversation. Never throws: what goes wrong is told to the runtime. */
export async function converse(
  stream: Duplex,
  context: Context,
  {
    line,
    beforeLast = () => {},
  }: {
    /** The first line, where it was read already. */
    readonly line?: string;
    /** Called before the last line, after which the runtime waits for nobody. */
    readonly beforeLast?: () => void;
  } = {},
): Promise<void> {
  const say = (told: BrainLine): void => {
    beforeLast();
    stream.write(`${JSON.stringify(told)}\n`);
  };
  try {
    const request = decodeCreateRequest(line ?? (await firstLine(stream)));
    await (request.op === "create" ? create : start)(stream, context, request, say);
  } catch (error) {
    say({ failed: toldOf(error) });
  }
}

/** Engines print it in one line of their own. What a bundle says may have a megabyte. */
const maxMessage = 1000;

/** A remedy as an engine's user can take it: flags of `tripod run` are not theirs. */
export function engineHint(hint: string): string | undefined {
  if (hint.includes("policy.allow_emulation"))
    return "policy.allow_emulation = true in the configuration, or name the monitor with the run: the annotation com.urunc.unikernel.hypervisor";
  return /--(mode|monitor|memory|network)\b|(^|\s)-[mve]\s|--entrypoint\b|\btripod (run|check|explain|images|ps|COMMAND)\b/.test(
    hint,
  )
    ? undefined
    : hint;
}

function toldOf(error: unknown): { readonly message: string; readonly hint?: string } {
  if (error instanceof TripodError) {
    const { message, hint } = error;
    const told = message.length > maxMessage ? `${message.slice(0, maxMessage)}…` : message;
    const remedy = engineHint(hint);
    return { message: told, ...(remedy === undefined ? {} : { hint: remedy }) };
  }
  return {
    message: `unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  };
}

const maxLine = 1 << 20;

/** The first line of a conversation; what came with it is given back to the stream. */
export async function firstLine(stream: Duplex): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let bytes = Buffer.alloc(0);
  const take = (chunk: Buffer): void => {
    bytes = Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf("\n");
    if (end < 0) {
      if (bytes.length > maxLine) reject(new TripodError("bug", "the runtime sent an endless line"));
      return;
    }
    stream.off("data", take).pause();
    const rest = bytes.subarray(end + 1);
    if (rest.length > 0) stream.unshift(rest);
    resolve(bytes.toString("utf8", 0, end));
  };
  const gone = (): void => reject(new TripodError("bug", "the runtime went away"));
  stream.on("data", take).on("end", gone).on("error", gone);
  try {
    return await promise;
  } finally {
    stream.off("data", take).off("end", gone).off("error", gone);
  }
}

async function create(
  stream: Duplex,
  context: Context,
  request: CreateRequest,
  say: (line: BrainLine) => void,
): Promise<void> {
  const bundle = readBundle(request.bundle);
  const { facts, chosen } = await decideBundle(context, bundle, request);
  if (chosen.offer.mode === "container") {
    say({ delegate: await delegationOf(bundle, request, facts, chosen, context) });
    return;
  }
  const input = await composeBundle({ context, bundle, request, facts, chosen });
  const warden = new WardenConnection(stream);
  const ground = prepare(input);
  const prepared = warden.prepare(ground, "keep");
  // What fails first is told; the other then has nobody to tell.
  prepared.catch(() => {});
  // While the warden works: most of a launch does not depend on the network, and all of it where there is none.
  const early = earlyLaunch(input);
  const { net } = await prepared;
  await updateSandboxFile(input.stateDir, keptFile(input, ground));
  const isUseful = early !== undefined && (net?.interfaces.length ?? 0) === 0;
  const { plan } = isUseful ? early : launch(input, net);
  // Some engines fill a new network namespace between `create` and `start` only (docker since 25), others never.
  const mayComeLater = input.engine?.networkNamespace === undefined && net?.interfaces.length === 0;
  await (mayComeLater ? warden.launchAtStart(plan) : warden.launch(plan));
  say({ done: {} });
}

/** The network has come: the launch is planned with it. The bundle is what it was at the creation, and so is the decision. */
async function start(
  stream: Duplex,
  context: Context,
  request: CreateRequest,
  say: (line: BrainLine) => void,
): Promise<void> {
  const bundle = readBundle(request.bundle);
  const { facts, chosen } = await decideBundle(context, bundle, request);
  const input = await composeBundle({ context, bundle, request, facts, chosen });
  const warden = new WardenConnection(stream);
  const { net } = await warden.look();
  await warden.launch(launch(input, net).plan);
  say({ done: {} });
}

/** The launch without a network; undefined where it cannot be had without one, which is then told of the real one. */
function earlyLaunch(input: ModeInput): LaunchPlan | undefined {
  if (input.engine?.nat !== undefined) return undefined;
  try {
    return launch(input, undefined);
  } catch {
    return undefined;
  }
}

/** For `update` and `events`: with the memory that the cgroup was given, the monitor's own included. */
export function keptFile({ sandbox }: ModeInput, ground: Plan): SandboxFile {
  const cgroup = ground.steps.find((step) => step.do === "cgroup");
  return { ...sandbox, limits: { ...sandbox.limits, ...cgroup?.limits } };
}

interface Decided {
  readonly facts: NodeFacts;
  readonly chosen: FittingVerdict;
}

/** The decision from what is known; where that is not enough, the machine is probed once and the answer kept. Throws `no-fit`. */
export async function decideBundle(
  context: Context,
  bundle: Bundle,
  request: Pick<CreateRequest, "id">,
): Promise<Decided> {
  const known = cachedFacts(context);
  const first = decisionOf(context, bundle, known);
  if (first.decision.chosen !== undefined) return { facts: known, chosen: first.decision.chosen };
  if (!known.probed) {
    const facts = await gatherFacts(context);
    const { decision } = decisionOf(context, bundle, facts);
    if (decision.chosen !== undefined) return { facts, chosen: decision.chosen };
    throw noFit(`the bundle of ${request.id}`, decision, first.wish);
  }
  throw noFit(`the bundle of ${request.id}`, first.decision, first.wish);
}

function decisionOf(
  context: Context,
  bundle: Bundle,
  facts: NodeFacts,
): { readonly decision: Decision; readonly wish: Wish } {
  const { offers, ignored } = offersOfBundle(bundle, facts.arch);
  const [why] = ignored;
  if (offers.length === 0 && why !== undefined)
    throw new TripodError("no-fit", `the bundle ${bundle.dir}: ${why.because}`, {
      hint: "look at its annotations and its /urunc.json",
    });
  const wish = wishOf(bundle, offers);
  const snapshot = bundle.rootfs === undefined ? undefined : deviceMountOf(bundle.rootfs);
  const decision = select({
    image: imageNameOf(bundle),
    digests: [],
    offers,
    facts,
    wish,
    policy: context.config.policy,
    supports: supportsOf(facts.monitors, facts.others.virtiofsd),
    againstRoot: (offer, features) => againstRoot(offer, features, snapshot?.fileSystem),
  });
  return { decision, wish };
}

/** A monitor that an annotation of the bundle names is asked for: what is slow here is then not refused for being slow. */
function wishOf({ config }: Bundle, offers: readonly Offer[]): Wish {
  const named =
    config.annotations?.[`${uruncPrefix}hypervisor`] ?? config.annotations?.["dev.tripod.monitors"];
  const monitor = monitorKinds.find((kind) => kind === named);
  const limit = config.linux?.resources?.memory?.limit ?? 0;
  return {
    mode: "auto",
    ...(monitor === undefined ? {} : { monitor }),
    // A container's limit is its runtime's affair, also one beyond the machine's memory.
    ...(limit > 0 && offers.some(({ mode }) => mode === "unikernel") ? { memoryBytes: limit } : {}),
  };
}
