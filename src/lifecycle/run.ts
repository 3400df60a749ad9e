/**
 * run: carries a decision out. Everything is decided and composed before the first effect; from then on whatever fails is undone by the warden, and what the
 * warden could not undo because it was killed is undone here.
 */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensureNetwork } from "../host/network.ts";
import { readPortRules } from "../host/port-rules.ts";
import { type WardenConnection, startWarden } from "../host/warden.ts";
import type { Image } from "../image/image.ts";
import type { Store } from "../image/store.ts";
import { launch, prepare } from "../mode/index.ts";
import type { ModeInput } from "../mode/input.ts";
import { noFit, sentence } from "../select/explain.ts";
import { TripodError } from "../spec/errors.ts";
import type { Credentials, Plan } from "../spec/plan.ts";
import type { NetFacts, StepTime } from "../spec/protocol.ts";
import type { FittingVerdict, Launch, SandboxFile } from "../spec/values.ts";
import { compose, sizeOf } from "./compose.ts";
import { type Context, sandboxDir } from "./context.ts";
import type { Decided } from "./decide.ts";
import { madeUpName } from "./names.ts";
import { ownNumber } from "./own-number.ts";
import { claimPorts, foreignRules, refuseUnreachable, settlePorts } from "./ports.ts";
import { removeSandbox } from "./remove.ts";
import type { RunRequest } from "./request.ts";
import type { Stages } from "./stages.ts";
import {
  type SandboxView,
  checkName,
  listSandboxes,
  newId,
  reserve,
  updateSandboxFile,
  viewSandbox,
} from "./store.ts";

/** What is to be run, and all that was decided. */
export interface Prepared {
  readonly context: Context;
  readonly store: Store;
  readonly image: Image;
  readonly request: RunRequest;
  readonly decided: Decided;
  readonly stages: Stages;
  /** Its abort gives the start up, and what was made for it is undone. */
  readonly signal: AbortSignal;
}

/** A sandbox that runs, with the owner's connection to its warden. */
export interface Running {
  readonly file: SandboxFile;
  readonly warden: WardenConnection;
}

/** What `--dry-run` prints: everything up to the effects, with a made-up network. */
export interface DryRun {
  readonly sandbox: SandboxFile;
  readonly ground: Plan;
  readonly launch: Plan;
  readonly rendered: Launch | undefined;
}

function chosenOf({ decided, image, request }: Prepared): FittingVerdict {
  const { chosen } = decided.decision;
  if (chosen === undefined) throw noFit(image.reference, decided.decision, request.wish);
  return chosen;
}

function sandboxFileOf(prepared: Prepared, chosen: FittingVerdict): SandboxFile {
  const { context, image, request, decided } = prepared;
  const id = newId();
  const own = ownNumber(id);
  const credentials: Credentials = { uid: own, gid: own, groups: [] };
  return {
    version: 1,
    id,
    namespace: context.namespace,
    name: request.name === undefined ? madeUpName(image.reference, id) : checkName(request.name),
    image: {
      reference: image.reference,
      manifest: chosen.offer.manifest,
      ...(image.index === undefined ? {} : { index: image.index }),
    },
    mode: chosen.offer.mode,
    monitor: chosen.by,
    reason: sentence(decided.decision, request.wish),
    createdAt: new Date().toISOString(),
    ...sizeOf({ context, image, request, chosen }),
    ports: request.ports,
    network: request.network ?? context.config.network.default,
    ...(chosen.offer.mode === "container" ? {} : { credentials }),
    labels: request.labels,
    terminal: request.tty,
    removeOnExit: request.removeOnExit,
  };
}

function checkNetwork({ decided, request }: Prepared, file: SandboxFile): void {
  if (file.network === "none") {
    if (request.ports.length > 0)
      throw new TripodError("usage", "-p publishes a port of a network, and --network none has none", {
        hint: "leave one of them out",
      });
    return;
  }
  refuseUnreachable(file.ports, file.network);
  if (decided.facts.cniPluginDirs.length === 0)
    throw new TripodError(
      "network-failed",
      "the network plugins bridge, host-local, portmap and firewall are not on this machine",
      {
        hint: "apt-get install containernetworking-plugins, or run with --network none",
      },
    );
}

/** Steps 2 to 11 with a made-up network; makes nothing but the image's unpacked layers. */
export async function dryRun(prepared: Prepared): Promise<DryRun> {
  const chosen = chosenOf(prepared);
  const sandbox = sandboxFileOf(prepared, chosen);
  checkNetwork(prepared, sandbox);
  const input = await composeWith(prepared, chosen, sandbox);
  const net = sandbox.network === "none" ? undefined : madeUpNet;
  const { plan, launch: rendered } = launch(input, net);
  return { sandbox, ground: prepare(input), launch: plan, rendered };
}

const madeUpNet: NetFacts = {
  interfaces: [
    {
      name: "eth0",
      mac: "02:00:00:00:00:02",
      mtu: 1500,
      up: true,
      addresses: [{ family: "ipv4", address: "192.0.2.2", prefix: 24 }],
    },
  ],
  routes: [{ family: "ipv4", destination: "0.0.0.0/0", gateway: "192.0.2.1", interface: "eth0" }],
  dns: { servers: ["192.0.2.1"], search: [] },
};

const composeWith = (
  prepared: Prepared,
  chosen: FittingVerdict,
  sandbox: SandboxFile,
): Promise<ModeInput> => {
  const { context, store, image, request, decided } = prepared;
  return compose(
    { context, store, image, request, facts: decided.facts, chosen },
    sandbox,
    sandboxDir(context, sandbox.id),
  );
};

/**
 * Runs the image: returns when its program runs. Throws `no-fit` and every error of the walk; nothing is left behind then. The caller holds a lease
 * of the store.
 */
export async function runSandbox(prepared: Prepared): Promise<Running> {
  const { context, stages, signal } = prepared;
  const chosen = chosenOf(prepared);
  const draft = sandboxFileOf(prepared, chosen);
  checkNetwork(prepared, draft);
  if (draft.network !== "none") await ensureNetwork(context.roots.lib, draft.network);
  const others = (): Promise<SandboxView[]> => listSandboxes(context);
  const rules = draft.ports.length === 0 ? [] : await foreignRules(others, readPortRules);
  const file: SandboxFile = { ...draft, ports: await claimPorts(draft.ports, rules) };
  const input = await composeWith(prepared, chosen, file);
  stages.end("layers");
  signal.throwIfAborted();
  await reserve(context, file);
  try {
    const settled = await settlePorts(
      draft.ports,
      file,
      others,
      (next) => updateSandboxFile(sandboxDir(context, file.id), next),
      rules,
    );
    return await carryOut(prepared, settled, { ...input, sandbox: settled });
  } catch (error) {
    await undo(context, file);
    throw error;
  }
}

async function carryOut(
  { context, request, stages, signal }: Prepared,
  file: SandboxFile,
  input: ModeInput,
): Promise<Running> {
  const ground = prepare(input);
  const warden = await startWarden(context.programs.warden, sandboxDir(context, file.id), context.roots.lib, {
    stdin: request.interactive && !request.detach ? "inherit" : "ignore",
    output: request.detach ? "ignore" : "inherit",
  });
  // A warden whose owner leaves before the start has succeeded undoes everything.
  const giveUp = (): void => warden.close();
  signal.addEventListener("abort", giveUp);
  try {
    signal.throwIfAborted();
    stages.end("warden");
    const prepared = warden.prepare(ground, file.removeOnExit ? "remove" : "keep");
    // What fails first is told; the other then has nobody to tell.
    prepared.catch(() => {});
    // Without a network there is nothing to look at: this is composed while the warden works.
    const early = file.network === "none" ? launch(input, undefined) : undefined;
    const { net, times } = await prepared;
    stages.end("ground", { name: "network", ms: msOf(times, "network") });
    const addressed = withAddress(file, net);
    if (addressed !== file) await updateSandboxFile(sandboxDir(context, file.id), addressed);
    const { plan } = early ?? launch({ ...input, sandbox: addressed }, net);
    const written = writePlan(context, file, ground, plan);
    try {
      await warden.launch(plan);
    } finally {
      await written;
    }
    stages.end("launch");
    await warden.start();
    stages.end("start");
    signal.throwIfAborted();
    return { file: addressed, warden };
  } catch (error) {
    warden.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

const msOf = (times: readonly StepTime[], step: StepTime["step"]): number =>
  times.filter((time) => time.step === step).reduce((sum, { us }) => sum + us / 1000, 0);

function withAddress(file: SandboxFile, net: NetFacts | undefined): SandboxFile {
  const address = net?.interfaces[0]?.addresses.find(({ family }) => family === "ipv4")?.address;
  return address === undefined ? file : { ...file, address };
}

/** For people to read; nothing executes it. */
async function writePlan(context: Context, file: SandboxFile, ground: Plan, sandbox: Plan): Promise<void> {
  const path = join(sandboxDir(context, file.id), "plan.json");
  await writeFile(path, `${JSON.stringify({ ground, launch: sandbox }, null, 2)}\n`, { mode: 0o600 });
}

/** The warden undoes a failure by itself; a killed one is undone from its journal. */
async function undo(context: Context, file: SandboxFile): Promise<void> {
  const view = await viewSandbox(context, file.id);
  if (view !== undefined) await removeSandbox(context, view, { force: true });
}
