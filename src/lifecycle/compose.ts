/**
 * From a decision to what the pure functions of a mode are given: layers unpacked, the kernel found and looked at, the command merged, the user resolved. Reads the
 * image's own layers and the host's resolver, makes nothing of the sandbox.
 */

import { guestDriver } from "../guest/index.ts";
import { type NodeFacts, pathOf } from "../host/facts/facts.ts";
import { hostDns } from "../host/resolver.ts";
import { type Image, configOf, lowersOf } from "../image/image.ts";
import type { Store } from "../image/store.ts";
import type { ContainerWorkload, ModeInput, UnikernelWorkload } from "../mode/input.ts";
import { etcFiles } from "../mode/container.ts";
import { treePath } from "../mode/unikernel.ts";
import { mebibyte } from "../monitor/monitor.ts";
import { bundleConfig } from "../spec/bundle.ts";
import { commandOf, environmentOf } from "../spec/command.ts";
import { TripodError } from "../spec/errors.ts";
import type { ImageExecution } from "../spec/oci.ts";
import { type HostPath, hostPath } from "../spec/paths.ts";
import { present } from "../spec/present.ts";
import { resolveUser } from "../spec/users.ts";
import type { FittingVerdict, MonitorKind, Offer, SandboxFile } from "../spec/values.ts";
import { stopSignalOf } from "./signals.ts";
import type { Context } from "./context.ts";
import type { RunRequest } from "./request.ts";
import { textOf, unikernelWorkload } from "./unikernel.ts";

/** Guest memory where nobody says: enough for every unikernel that we know, and only touched pages count. */
const defaultGuestBytes = 64 * mebibyte;
/** CPU quota is given per 100 ms, as docker does. */
const cpuPeriodUs = 100_000;

export interface Composition {
  readonly context: Context;
  readonly store: Store;
  readonly image: Image;
  readonly request: RunRequest;
  readonly facts: NodeFacts;
  readonly chosen: FittingVerdict;
}

/** What is known of the sandbox's size and command before it has an id. */
export type Sizing = Pick<SandboxFile, "command" | "limits" | "memoryBytes" | "vcpus">;

type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

/** Processors as a quota of the scheduler's period, microseconds. */
export const cpuQuota = (cpus: number): { readonly cpuQuotaUs: number; readonly cpuPeriodUs: number } => ({
  cpuQuotaUs: Math.max(1000, Math.round(cpus * cpuPeriodUs)),
  cpuPeriodUs,
});

/** Memory, processors and command by request, configuration and image. */
export function sizeOf({ context, image, request, chosen }: Omit<Composition, "store" | "facts">): Sizing {
  const { wish } = request;
  const { offer } = chosen;
  const execution = executionOf(image, chosen);
  const quota = wish.cpus === undefined ? {} : cpuQuota(wish.cpus);
  if (offer.mode === "container")
    return {
      command: commandOf(execution, request),
      limits: { ...quota, ...(wish.memoryBytes === undefined ? {} : { memoryBytes: wish.memoryBytes }) },
      memoryBytes: wish.memoryBytes ?? 0,
      vcpus: 0,
    };
  const { guest, minMemoryBytes, args } = offer as UnikernelOffer;
  const own = context.config.monitors[chosen.by as MonitorKind];
  const memoryBytes =
    wish.memoryBytes ??
    Math.max(
      own?.defaultMemoryBytes ?? guestDriver(guest)?.usualMemoryBytes ?? defaultGuestBytes,
      minMemoryBytes ?? 0,
    );
  const command = commandOf(execution, request);
  return {
    command: command.length === 0 ? (args ?? []) : command,
    limits: quota,
    memoryBytes,
    vcpus:
      chosen.by === "hvt" || chosen.by === "spt"
        ? 1
        : Math.max(1, Math.ceil(wish.cpus ?? own?.defaultVcpus ?? 1)),
  };
}

/** The image config's execution part of the chosen manifest. */
export const executionOf = (image: Image, chosen: FittingVerdict): ImageExecution =>
  configOf(image, chosen.offer.manifest).config ?? {};

/** Everything that `prepare` and `launch` need. Throws what is wrong with the image, its kernel, its user or the request. */
export async function compose(
  composition: Composition,
  sandbox: SandboxFile,
  stateDir: HostPath,
): Promise<ModeInput> {
  const { context, request, facts } = composition;
  const hostname = request.hostname ?? sandbox.id.slice(0, 12);
  return {
    sandbox,
    stateDir,
    hostname,
    cniPluginDirs: facts.cniPluginDirs,
    hostDns: hostDns(),
    stdio: {
      terminal: request.tty,
      ...request.window,
      stdin: request.interactive && !request.detach ? "inherit" : "null",
      tee: !request.detach,
      log: context.config.log,
    },
    workload:
      composition.chosen.offer.mode === "container"
        ? await composeContainer(composition, sandbox, stateDir, hostname)
        : await composeUnikernel(composition, sandbox, stateDir, composition.chosen.offer as UnikernelOffer),
  };
}

async function composeContainer(
  { context, store, image, request, facts, chosen }: Composition,
  sandbox: SandboxFile,
  stateDir: HostPath,
  hostname: string,
): Promise<ContainerWorkload> {
  const runtime = chosen.by;
  if (runtime !== "runc" && runtime !== "crun") throw new TripodError("bug", `${runtime} is no OCI runtime`);
  const found = facts.ociRuntimes[runtime];
  if (!("path" in found)) throw new TripodError("monitor-missing", `${runtime}: ${found.missing}`);
  const lowers = await lowersOf(store, image, chosen.offer.manifest, { warden: context.programs.warden });
  const execution = executionOf(image, chosen);
  const stopSignal = stopSignalOf(execution.StopSignal, image.reference);
  const config = bundleConfig({
    arch: chosen.offer.arch,
    image: request.workdir === undefined ? execution : { ...execution, WorkingDir: request.workdir },
    wish: request,
    inherited: process.env,
    user: resolveUser(request.user ?? execution.User ?? "", {
      passwd: textOf(lowers, "/etc/passwd"),
      group: textOf(lowers, "/etc/group"),
    }),
    hostname,
    rootPath: `${stateDir}/rootfs`,
    readonlyRoot: false,
    cgroupsPath: `/tripod/${sandbox.namespace}/${sandbox.id}`,
    limits: sandbox.limits,
    terminal: request.tty,
    ...request.window,
    volumes: request.volumes,
    tmpfs: [],
    files: Object.entries(etcFiles).map(([target, file]) => ({
      source: hostPath(`${stateDir}/${file}`),
      target,
    })),
  });
  return {
    mode: "container",
    runtime,
    program: found.path,
    lowers,
    overlay: facts.overlay,
    config,
    ...(stopSignal === undefined ? {} : { stopSignal }),
  };
}

async function composeUnikernel(
  { context, store, image, request, facts, chosen }: Composition,
  sandbox: SandboxFile,
  stateDir: HostPath,
  offer: UnikernelOffer,
): Promise<UnikernelWorkload> {
  const monitor = chosen.by as MonitorKind;
  const found = facts.monitors[monitor];
  if (!("path" in found)) throw new TripodError("monitor-missing", `${monitor}: ${found.missing}`);
  const { warden, init } = context.programs;
  const lowers = await lowersOf(store, image, offer.manifest, { warden });
  const execution = executionOf(image, chosen);
  const entrypoint = request.entrypoint === undefined ? [] : [request.entrypoint];
  return unikernelWorkload({
    offer,
    monitor,
    program: found.path,
    machine: {
      arch: offer.arch,
      memoryBytes: sandbox.memoryBytes,
      vcpus: sandbox.vcpus,
      kvm: chosen.speed === "hardware",
    },
    arch: facts.arch,
    id: sandbox.id,
    subject: image.reference,
    lowers,
    tree: hostPath(`${stateDir}/${treePath}`),
    makeTree: facts.overlay ? "overlay" : "copy",
    args: sandbox.command,
    env: environmentOf(execution, request, process.env),
    wished: { args: [...entrypoint, ...request.args], env: request.env },
    cwd: request.workdir ?? execution.WorkingDir ?? "/",
    allowVaccel: context.config.accelerator.vaccel,
    ...present({
      user: request.user ?? execution.User,
      init,
      shareServer: pathOf(facts.others.virtiofsd),
    }),
  });
}
