/** From an engine's bundle and a decision to what the pure functions of the unikernel mode are given. */

import { readFileSync } from "node:fs";
import { guestDriver } from "../../guest/index.ts";
import { type NodeFacts, pathOf } from "../../host/facts/facts.ts";
import { deviceMountOf } from "../../host/mounts.ts";
import { hostDns } from "../../host/resolver.ts";
import type { ModeInput } from "../../mode/input.ts";
import { mebibyte } from "../../monitor/monitor.ts";
import type { CreateRequest } from "../../spec/brain.ts";
import type { EngineConfig } from "../../spec/engine-config.ts";
import { TripodError } from "../../spec/errors.ts";
import { present } from "../../spec/present.ts";
import type { Credentials, Stdio } from "../../spec/plan.ts";
import { type DnsConfig, parseResolvConf } from "../../spec/resolv.ts";
import type { FittingVerdict, MonitorKind, Offer, SandboxFile } from "../../spec/values.ts";
import type { Context } from "../context.ts";
import { ownNumber } from "../own-number.ts";
import { unikernelWorkload } from "../unikernel.ts";
import type { Bundle } from "./bundle.ts";
import { groundOf, limitsOf } from "./ground.ts";
import { volumesOf } from "./volumes.ts";

type UnikernelOffer = Extract<Offer, { mode: "unikernel" }>;

/** Guest memory where the engine sets no limit: urunc's default, which images made for it were tried with. Only touched pages count. */
const defaultGuestBytes = 256 * mebibyte;

export interface EngineComposition {
  readonly context: Context;
  readonly bundle: Bundle;
  readonly request: CreateRequest;
  readonly facts: NodeFacts;
  readonly chosen: FittingVerdict;
  /** Where the streams are, if not the caller's own. */
  readonly stdio?: Stdio;
}

/** Throws what is wrong with the bundle, its kernel or its limits. */
export async function composeBundle(composition: EngineComposition): Promise<ModeInput> {
  const { context, bundle, request, facts, chosen } = composition;
  const { config, rootfs } = bundle;
  if (chosen.offer.mode !== "unikernel" || rootfs === undefined)
    throw new TripodError("bundle-invalid", `${bundle.dir}/config.json: root is missing`);
  const { offer } = chosen;
  const monitor = chosen.by as MonitorKind;
  const program = facts.monitors[monitor];
  if ("missing" in program) throw new TripodError("monitor-missing", `${monitor}: ${program.missing}`);
  const mount = deviceMountOf(rootfs);
  const hostname = config.hostname || request.id.slice(0, 12);
  // It goes into boot lines, where a blank ends it.
  if (!/^[!-~]+$/.test(hostname))
    throw new TripodError(
      "bundle-invalid",
      `${bundle.dir}/config.json: hostname ${JSON.stringify(hostname)} has other characters than visible ones of ASCII`,
    );
  const sandbox = sandboxOf(composition, offer);
  return {
    sandbox,
    stateDir: request.stateDir,
    hostname,
    cniPluginDirs: [],
    hostDns: dnsOf(config),
    stdio: composition.stdio ?? stdioOf(config, request),
    engine: groundOf(bundle, request, context.config.network.natPool),
    workload: await unikernelWorkload({
      offer,
      monitor,
      program: program.path,
      machine: {
        arch: offer.arch,
        memoryBytes: sandbox.memoryBytes,
        vcpus: sandbox.vcpus,
        kvm: chosen.speed === "hardware",
      },
      arch: facts.arch,
      id: request.id,
      subject: `the bundle ${bundle.dir}`,
      lowers: [rootfs],
      tree: rootfs,
      readonlyRoot: config.root?.readonly === true,
      args: sandbox.command,
      env: config.process?.env ?? [],
      cwd: config.process?.cwd ?? "/",
      user: { uid: config.process?.user?.uid ?? 0, gid: config.process?.user?.gid ?? 0 },
      volumes: volumesOf(bundle),
      ...(mount === undefined ? {} : { snapshot: { ...mount, at: rootfs, stateDir: request.stateDir } }),
      allowVaccel: context.config.accelerator.vaccel,
      ...present({ init: context.programs.init, shareServer: pathOf(facts.others.virtiofsd) }),
    }),
  };

  function sandboxOf(
    { bundle: { dir } }: EngineComposition,
    { args, minMemoryBytes }: UnikernelOffer,
  ): SandboxFile {
    const own = context.config.monitors[chosen.by as MonitorKind];
    const limit = config.linux?.resources?.memory?.limit ?? 0;
    const command = config.process?.args ?? [];
    return {
      version: 1,
      id: request.id,
      namespace: "engine",
      name: request.id,
      image: { reference: dir, manifest: offer.manifest },
      mode: "unikernel",
      monitor: chosen.by,
      reason: "asked for by the bundle",
      createdAt: new Date().toISOString(),
      command: command.length > 0 ? command : (args ?? []),
      ports: [],
      network: "engine",
      limits: limitsOf(config),
      memoryBytes:
        limit > 0
          ? limit
          : Math.max(
              own?.defaultMemoryBytes ?? guestDriver(offer.guest)?.usualMemoryBytes ?? defaultGuestBytes,
              minMemoryBytes ?? 0,
            ),
      vcpus: vcpusOf(config, chosen.by, own?.defaultVcpus ?? 1, facts.cpus),
      credentials: credentialsOf(config, request.id),
      labels: {},
      terminal: config.process?.terminal === true,
      removeOnExit: false,
    };
  }
}

/**
 * Processors of the guest: the quota in whole processors, rounded up, at most the machine's; without a quota the configuration's default. The tenders
 * of Solo5 have one.
 */
export function vcpusOf(
  config: EngineConfig,
  by: FittingVerdict["by"],
  fallback: number,
  most: number,
): number {
  if (by === "hvt" || by === "spt") return 1;
  const cpu = config.linux?.resources?.cpu;
  const quota = cpu?.quota ?? 0;
  const wanted = quota > 0 ? Math.ceil(quota / (cpu?.period || 100_000)) : fallback;
  return Math.max(1, Math.min(wanted, most));
}

/** The image's user, if it has one; a monitor is never root, so else one that no other sandbox has. */
function credentialsOf(config: EngineConfig, id: string): Credentials {
  const { uid, gid } = config.process?.user ?? {};
  const user = uid || ownNumber(id);
  return { uid: user, gid: gid || user, groups: [] };
}

/** Rows or columns that a terminal can have. */
const fits = (value: number): boolean => value > 0 && value < 65_536;

function stdioOf(config: EngineConfig, { console }: CreateRequest): Stdio {
  const terminal = config.process?.terminal === true;
  if (terminal && !console)
    throw new TripodError(
      "bundle-invalid",
      "cannot allocate tty: process.terminal is true without --console-socket",
      {
        hint: "give --console-socket, or set process.terminal to false",
      },
    );
  if (!terminal && console)
    throw new TripodError("bundle-invalid", "--console-socket is given, yet process.terminal is false");
  const size = config.process?.consoleSize;
  return {
    terminal,
    ...(size && fits(size.height) && fits(size.width) ? { rows: size.height, cols: size.width } : {}),
    stdin: "engine",
    tee: false,
  };
}

const maxResolvBytes = 65_536;

/** The engine binds the `resolv.conf` of its network over the image's. */
function dnsOf(config: EngineConfig): DnsConfig {
  const mount = config.mounts?.findLast(({ destination }) => destination === "/etc/resolv.conf");
  if (!mount?.source?.startsWith("/")) return hostDns();
  try {
    return parseResolvConf(readFileSync(mount.source, "utf8").slice(0, maxResolvBytes));
  } catch {
    // A file that is not there names no server.
    return { servers: [], search: [], options: [] };
  }
}
