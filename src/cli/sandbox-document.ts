/** A sandbox as `inspect`, `ps -o json` and the tables show it. The documents are stable: fields are added, never changed. */

import { exitMeaning } from "../monitor/index.ts";
import type { SandboxView } from "../lifecycle/store.ts";
import type { PortMapping } from "../spec/plan.ts";
import type { Exit } from "../spec/protocol.ts";

/** Version 1 of the document, `schema: "tripod.sandbox/1"`. Times are RFC 3339, sizes bytes. */
export interface SandboxDocument {
  readonly schema: "tripod.sandbox/1";
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  /** The reference as it was given to `run`. */
  readonly image: string;
  /** Digest of the image manifest that runs. */
  readonly manifest: string;
  readonly mode: string;
  /** The monitor, or the OCI runtime of a container. */
  readonly monitor: string;
  /** Why this mode and monitor. */
  readonly reason: string;
  /** `creating`, `created`, `running`, `paused`, `stopped`, or `dead`: its warden is gone without having cleaned up. */
  readonly status: string;
  /** The workload's first process on the host; 0 when there is none. */
  readonly pid: number;
  /** The sandbox's own IPv4 address without a prefix; null without a network. */
  readonly address: string | null;
  readonly network: string;
  readonly ports: readonly PortMapping[];
  readonly command: readonly string[];
  readonly memoryBytes: number;
  readonly vcpus: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly terminal: boolean;
  readonly removeOnExit: boolean;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly exit: Exit | null;
  /** The state directory on the host. */
  readonly stateDir: string;
}

export function sandboxDocument({ file, state, status, dir }: SandboxView): SandboxDocument {
  // A dead warden's last words are not the truth about processes.
  const lives = status === "running" || status === "paused" || status === "created";
  return {
    schema: "tripod.sandbox/1",
    id: file.id,
    name: file.name,
    namespace: file.namespace,
    image: file.image.reference,
    manifest: file.image.manifest,
    mode: file.mode,
    monitor: file.monitor,
    reason: file.reason,
    status,
    pid: lives ? (state?.pid ?? 0) : 0,
    address: file.address ?? null,
    network: file.network,
    ports: file.ports,
    command: file.command,
    memoryBytes: file.memoryBytes,
    vcpus: file.vcpus,
    labels: file.labels,
    terminal: file.terminal,
    removeOnExit: file.removeOnExit,
    createdAt: file.createdAt,
    startedAt: state?.startedAt ?? null,
    exit: state?.exit ?? null,
    stateDir: dir,
  };
}

/** Ids are shown as docker shows them. */
export const shortId = (id: string): string => id.slice(0, 12);

/** `0.0.0.0:8080->80/tcp` */
export const portText = (port: PortMapping): string =>
  `${port.hostIp === undefined ? "" : `${port.hostIp.includes(":") ? `[${port.hostIp}]` : port.hostIp}:`}${port.hostPort}->${port.guestPort}/${port.protocol}`;

/** `stopped (0)`, `stopped (137, out of memory)`, `stopped (148, a forbidden system call)`, `running` */
export function statusText({ status, state, file }: Pick<SandboxView, "status" | "state" | "file">): string {
  if (status !== "stopped" || state?.exit === undefined) return status;
  const { exitCode, oomKilled } = state.exit;
  const meaning = oomKilled ? "out of memory" : exitMeaning(file.monitor, exitCode);
  return `stopped (${exitCode}${meaning === undefined ? "" : `, ${meaning}`})`;
}

/** `3 m 12 s ago`, from an RFC 3339 time. */
export function ago(time: string, now: number): string {
  const then = Date.parse(time);
  if (Number.isNaN(then)) return time;
  const seconds = Math.max(0, Math.floor((now - then) / 1000));
  const [amount, unit] =
    seconds < 60
      ? [seconds, "s"]
      : seconds < 3600
        ? [Math.floor(seconds / 60), "min"]
        : seconds < 172_800
          ? [Math.floor(seconds / 3600), "h"]
          : [Math.floor(seconds / 86_400), "days"];
  return `${amount} ${unit} ago`;
}
