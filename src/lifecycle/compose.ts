/**
 * From a decision to what the pure functions of a mode are given: layers unpacked, the kernel found and looked at, the command merged, the user resolved. Reads the
 * image's own layers and the host's resolver, makes nothing of the sandbox.
 */

import { readFileSync, statSync } from "node:fs";
import { findNeeds } from "../host/program-needs.ts";
import type { NodeFacts } from "../host/facts/facts.ts";
import { hostDns } from "../host/resolver.ts";
import { checkKernel, inspectKernel } from "../image/elf.ts";
import { findFile } from "../image/find-file.ts";
import { type Image, configOf, fileOfImage, lowersOf } from "../image/image.ts";
import type { Store } from "../image/store.ts";
import type { ContainerWorkload, ModeInput, UnikernelWorkload } from "../mode/input.ts";
import { etcFiles } from "../mode/container.ts";
import { monitorDriver } from "../monitor/index.ts";
import { mebibyte } from "../monitor/monitor.ts";
import { bundleConfig } from "../spec/bundle.ts";
import { commandOf, environmentOf } from "../spec/command.ts";
import { TripodError } from "../spec/errors.ts";
import type { ImageExecution } from "../spec/oci.ts";
import { type HostPath, hostPath, untrustedPath } from "../spec/paths.ts";
import { resolveUser } from "../spec/users.ts";
import type { FittingVerdict, Machine, MonitorKind, Offer, SandboxFile } from "../spec/values.ts";
import { stopSignalOf } from "./signals.ts";
import type { Context } from "./context.ts";
import type { RunRequest } from "./request.ts";

/** Guest memory where nobody says: enough for every unikernel that we know, and only touched pages count. */
const defaultGuestBytes = 64 * mebibyte;
/** CPU quota is given per 100 ms, as docker does. */
const cpuPeriodUs = 100_000;
/** passwd and group of an image that are longer are not read. */
const maxUserFileBytes = 4 * mebibyte;

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
  const own = context.config.monitors[chosen.by as MonitorKind];
  const memoryBytes =
    wish.memoryBytes ??
    Math.max(own?.defaultMemoryBytes ?? defaultGuestBytes, (offer as UnikernelOffer).minMemoryBytes ?? 0);
  return {
    command: commandOf(execution, request),
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
        : await composeUnikernel(composition, sandbox, composition.chosen.offer as UnikernelOffer),
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
  const userFile = (path: string): string => {
    const file = findFile(lowers, untrustedPath(path));
    return file === undefined || statSync(file).size > maxUserFileBytes ? "" : readFileSync(file, "utf8");
  };
  const config = bundleConfig({
    arch: chosen.offer.arch,
    image: request.workdir === undefined ? execution : { ...execution, WorkingDir: request.workdir },
    wish: request,
    inherited: process.env,
    user: resolveUser(request.user ?? execution.User ?? "", {
      passwd: userFile("/etc/passwd"),
      group: userFile("/etc/group"),
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
  offer: UnikernelOffer,
): Promise<UnikernelWorkload> {
  const monitor = chosen.by as MonitorKind;
  const found = facts.monitors[monitor];
  if (!("path" in found)) throw new TripodError("monitor-missing", `${monitor}: ${found.missing}`);
  const driver = monitorDriver(monitor, found.path);
  if (driver === undefined) throw new TripodError("no-fit", `Tripod cannot drive ${monitor} yet`);
  const lowers = await lowersOf(store, image, offer.manifest, { warden: context.programs.warden });
  const subject = `the kernel ${offer.kernel} of ${image.reference}`;
  const kernel = fileOfImage(lowers, offer.kernel, image.reference);
  const kernelFacts = inspectKernel(kernel, subject);
  checkKernel(kernelFacts, { arch: offer.arch, abi: abiOf(offer, monitor) }, subject);
  const initrd = offer.initrd === undefined ? undefined : fileOfImage(lowers, offer.initrd, image.reference);
  if (driver.opensKernel === "path")
    for (const [path, file] of [
      [offer.kernel, kernel],
      [offer.initrd, initrd],
    ] as const)
      if (path !== undefined && file !== undefined)
        refuseUnreadable(file, `${path} of ${image.reference}`, monitor);
  const execution = executionOf(image, chosen);
  const machine: Machine = {
    arch: offer.arch,
    memoryBytes: sandbox.memoryBytes,
    vcpus: sandbox.vcpus,
    kvm: chosen.speed === "hardware",
  };
  return {
    mode: "unikernel",
    offer,
    monitor,
    machine,
    program: found.path,
    needs: await findNeeds(found.path, driver.needs, facts.arch),
    kernel,
    root: initrd === undefined ? { kind: "none" } : { kind: "initrd", path: initrd },
    args: sandbox.command,
    env: environmentOf(execution, request, process.env),
    netDevices: kernelFacts.solo5?.netDevices ?? offer.netDevices ?? [],
    blockDevices: kernelFacts.solo5?.blockDevices ?? offer.blockDevices ?? [],
    disks: [],
    mounts: [],
    user: { uid: 0, gid: 0 },
    cwd: execution.WorkingDir ?? "/",
  };
}

/** A monitor that opens its kernel by path does so as the sandbox's own user, whom no image knows. */
function refuseUnreadable(file: HostPath, subject: string, monitor: MonitorKind): void {
  const mode = statSync(file).mode & 0o7777;
  if ((mode & 0o004) !== 0) return;
  throw new TripodError(
    "kernel-invalid",
    `${subject} has the mode 0${mode.toString(8)}, and ${monitor} opens it as an unprivileged user`,
    { hint: "build the image with that file readable for all: mode 0644" },
  );
}

/** A Solo5 kernel is bound to its tender by its ABI; every other is told by its guest kind. */
function abiOf(offer: UnikernelOffer, monitor: MonitorKind): "hvt" | "spt" | "pvh" | "any" {
  if (monitor === "hvt" || monitor === "spt") return monitor;
  return offer.guest === "pvh" ? "pvh" : "any";
}
