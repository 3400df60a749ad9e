/** What both pure functions of a mode, `prepare` and `launch`, are given: all that was decided and found before anything is done. */

import type { OciConfig } from "../spec/runtime.ts";
import type { CgroupPath, HostPath, StatePath } from "../spec/paths.ts";
import type { Plan, Stdio } from "../spec/plan.ts";
import type { NetFacts } from "../spec/protocol.ts";
import type { DnsConfig } from "../spec/resolv.ts";
import type {
  BindNeed,
  Disk,
  GuestFile,
  GuestRoot,
  HostFile,
  Launch,
  Machine,
  MonitorKind,
  OciRuntimeKind,
  Offer,
  SandboxFile,
  Vsock,
} from "../spec/values.ts";

export interface ModeInput {
  /** The sandbox's own record: id, namespace, limits, ports, network name, credentials. */
  readonly sandbox: SandboxFile;
  /** The sandbox's state directory. */
  readonly stateDir: HostPath;
  readonly hostname: string;
  /** Where CNI plugins lie; unused when `sandbox.network` is `none`. */
  readonly cniPluginDirs: readonly HostPath[];
  /** The host's name servers, used where the network's own configuration names none. Loopback addresses are left out by us. */
  readonly hostDns: DnsConfig;
  readonly stdio: Stdio;
  /** Under an engine, by the OCI command line: what its bundle says of the ground; absent: all of it is ours. */
  readonly engine?: EngineGround;
  readonly workload: ContainerWorkload | UnikernelWorkload;
}

/** What an engine has settled: the network namespace is its (or filled by its hooks), and it looks for the sandbox in a cgroup of its naming. */
export interface EngineGround {
  readonly cgroupPath: CgroupPath;
  /** Joined; absent: a new one. */
  readonly networkNamespace?: HostPath;
  readonly oomScoreAdj?: number;
  /** The namespace is others' too: the guest gets a network of its own behind it. Absent: the guest takes the interface over. */
  readonly nat?: Nat;
  /** In the order of their times, each time's in the order of the bundle. */
  readonly hooks: readonly OciHook[];
  /** The state that hooks read, as JSON; the warden sets `pid` and `status`. */
  readonly hookState: string;
}

/** Two IPv4 addresses of one subnet. */
export interface Nat {
  readonly host: string;
  readonly guest: string;
  readonly prefix: number;
  /** Ports of the shared address that are the guest's. */
  readonly ports: readonly { readonly port: number; readonly protocol: "tcp" | "udp" }[];
}

export const hookTimes = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

export interface OciHook {
  readonly time: (typeof hookTimes)[number];
  readonly path: HostPath;
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** 0: the warden's own. */
  readonly timeoutMs: number;
}

export interface ContainerWorkload {
  readonly mode: "container";
  readonly runtime: OciRuntimeKind;
  readonly program: HostPath;
  /** Unpacked layers, topmost first. */
  readonly lowers: readonly HostPath[];
  /** Whether overlayfs works here; else the layers are copied. */
  readonly overlay: boolean;
  readonly config: OciConfig;
  /** Number of the signal that asks it to stop; default SIGTERM. */
  readonly stopSignal?: number;
  /** Milliseconds until it is killed; default 10 000, as docker's. */
  readonly stopDeadlineMs?: number;
}

export interface UnikernelWorkload {
  readonly mode: "unikernel";
  readonly offer: Extract<Offer, { mode: "unikernel" }>;
  readonly monitor: MonitorKind;
  readonly machine: Machine;
  /** The monitor's program, and the files that its `ProgramNeeds` ask for. */
  readonly program: HostPath;
  readonly needs: readonly BindNeed[];
  /** virtiofsd, where there is one: needed by guests with a directory by virtiofs. */
  readonly shareServer?: { readonly program: HostPath; readonly needs: readonly BindNeed[] };
  /** Resolved in the image's root file system. */
  readonly kernel: HostPath;
  /** Real paths that were resolved in the root file system, which an engine's bundle shares with whoever made it: they are opened without following links. */
  readonly resolved?: ReadonlySet<HostPath>;
  readonly root: GuestRoot;
  readonly args: readonly string[];
  /** `NAME=value` each. */
  readonly env: readonly string[];
  /** See `GuestInput`. */
  readonly wished?: { readonly args: readonly string[]; readonly env: readonly string[] };
  readonly files?: readonly GuestFile[];
  readonly init?: HostFile;
  /** Where the accelerator listens that the guest may call. */
  readonly vsock?: Vsock;
  /** The image's layers (topmost first) as one tree that the guest may write, where it is needed: at `rootfs` in the state directory. */
  readonly tree?: { readonly lowers: readonly HostPath[]; readonly overlay: boolean };
  /** A mount of the host whose block device becomes a disk of the guest, and what is copied of it before it is taken away. */
  readonly taken?: {
    readonly at: HostPath;
    readonly copies: readonly { readonly from: HostPath; readonly at: StatePath }[];
  };
  /** Names of the network devices that the kernel (or else the offer) declares. */
  readonly netDevices: readonly string[];
  /** The same of block devices. */
  readonly blockDevices: readonly string[];
  readonly disks: readonly Disk[];
  readonly mounts: readonly { readonly disk: Disk; readonly at: string }[];
  /** Whom the workload in the guest runs as, and where it begins. */
  readonly user: { readonly uid: number; readonly gid: number };
  readonly cwd: string;
}

/** The two halves of a mode. Both are pure; both throw `TripodError` for what cannot be. */
export interface ModeDriver<Workload> {
  /** The ground: everything up to the look at the network. */
  readonly prepare: (input: ModeInput, workload: Workload) => Plan;
  /** The sandbox itself, given what stands in its network namespace. */
  readonly launch: (input: ModeInput, workload: Workload, net: NetFacts | undefined) => LaunchPlan;
}

export interface LaunchPlan {
  readonly plan: Plan;
  /** What the monitor was rendered to, for `--dry-run`; absent for a container. */
  readonly launch?: Launch;
}
