/**
 * The OCI runtime configuration of a container from its image's config and the user's options. Defaults are docker's, so that an image runs
 * as its author saw it: its capability set, masked paths and mounts; `no_new_privileges` is off, since setuid programs such as `su` and
 * `ping` are part of ordinary images. Ours: the seccomp profile (`container-seccomp.ts`), and the network namespace that the runtime is started in, which is the sandbox's.
 */

import { requiredCommand, environmentOf, type CommandWish } from "./command.ts";
import { containerSeccomp } from "./container-seccomp.ts";
import { TripodError } from "./errors.ts";
import type { ImageExecution } from "./oci.ts";
import type { HostPath, SandboxPath } from "./paths.ts";
import type { Limits } from "./plan.ts";
import type { OciConfig, OciMount, OciResources, OciUser } from "./runtime.ts";
import type { Arch } from "./values.ts";

/** `-v`. */
export interface Volume {
  readonly source: HostPath;
  readonly target: SandboxPath;
  readonly readonly: boolean;
}

export interface BundleInput {
  readonly arch: Arch;
  readonly image: ImageExecution;
  readonly wish: CommandWish;
  /** Our own environment, for `-e NAME`. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** The user, already resolved (`users.ts`). */
  readonly user: OciUser;
  readonly hostname: string;
  /** Where the container's root is mounted, as the bundle sees it. */
  readonly rootPath: string;
  readonly readonlyRoot: boolean;
  readonly cgroupsPath: string;
  readonly limits: Limits;
  readonly terminal: boolean;
  readonly rows?: number;
  readonly cols?: number;
  readonly volumes: readonly Volume[];
  /** `--tmpfs`: where, and mount options such as `size=64m`. */
  readonly tmpfs: readonly { readonly target: SandboxPath; readonly options: readonly string[] }[];
  /** Files of ours over the image's: `/etc/hosts` and its like. A volume at the same place wins. */
  readonly files: readonly { readonly source: HostPath; readonly target: string }[];
}

/** Docker's default set. */
export const defaultCapabilities: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const mount = (destination: string, type: string, source: string, options: string): OciMount => ({
  destination,
  type,
  source,
  options: options.split(","),
});

const defaultMounts: readonly OciMount[] = [
  mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
  mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
  mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
  mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
  mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
  mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
  mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
];

/** Docker's lists, and what newer kernels have added to /proc and /sys of their kind. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Builds the configuration. Throws `usage` when nothing names a program, two mounts share a target, one takes the place of what the runtime needs, or a variable is malformed. */
export function bundleConfig(input: BundleInput): OciConfig {
  const { image, wish, user } = input;
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: input.terminal,
      ...(input.terminal && input.rows !== undefined && input.cols !== undefined
        ? { consoleSize: { height: input.rows, width: input.cols } }
        : {}),
      user,
      args: requiredCommand(image, wish),
      env: withDefaults(environmentOf(image, wish, input.inherited), input),
      cwd: absoluteCwd(image.WorkingDir),
      capabilities: capabilitiesOf(user),
      noNewPrivileges: false,
    },
    root: { path: input.rootPath, readonly: input.readonlyRoot },
    hostname: input.hostname,
    mounts: mountsOf(input),
    linux: {
      cgroupsPath: input.cgroupsPath,
      namespaces: [
        ...["pid", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
        // The runtime is started in the sandbox's namespace and stays there. It must be named all the same: what is not named is not joined by
        // a later `exec` either, whose program would find itself in the host's network.
        { type: "network", path: "/proc/self/ns/net" },
      ],
      resources: resourcesOf(input.limits),
      seccomp: containerSeccomp(input.arch),
      maskedPaths,
      readonlyPaths,
    },
  };
}

const absoluteCwd = (dir: string | undefined): string =>
  dir === undefined || dir === "" ? "/" : dir.startsWith("/") ? dir : `/${dir}`;

/** A user other than root starts without capabilities and can gain the set only through a program's file capabilities. */
const capabilitiesOf = ({ uid }: OciUser): OciConfig["process"]["capabilities"] => {
  const held = uid === 0 ? defaultCapabilities : [];
  return { bounding: defaultCapabilities, effective: held, permitted: held };
};

/** Docker's additions, which what the image or the user says overrides. */
function withDefaults(env: readonly string[], { hostname, terminal }: BundleInput): string[] {
  const defaults = [defaultPath, `HOSTNAME=${hostname}`, ...(terminal ? ["TERM=xterm"] : [])];
  const has = (entry: string): boolean =>
    env.some((given) => given.startsWith(entry.slice(0, entry.indexOf("=") + 1)));
  return [...defaults.filter((entry) => !has(entry)), ...env];
}

/** What the runtime itself makes and needs in every container. */
const neededTargets: ReadonlySet<string> = new Set(["/", "/proc", "/sys", "/dev"]);

const depth = ({ destination }: OciMount): number => destination.split("/").length;

function mountsOf({ volumes, tmpfs, files }: BundleInput): OciMount[] {
  const asked: OciMount[] = [
    ...tmpfs.map(({ target, options }) =>
      mount(target, "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec", ...options].join(",")),
    ),
    ...volumes.map(({ source, target, readonly }) =>
      mount(target, "bind", source, `rbind,rprivate,${readonly ? "ro" : "rw"}`),
    ),
  ];
  const targets = asked.map(({ destination }) => destination);
  const twice = targets.find((target, index) => targets.indexOf(target) !== index);
  if (twice !== undefined)
    throw new TripodError("usage", `two volumes are to be mounted at ${twice}`, {
      hint: "leave one of them out",
    });
  const needed = targets.find((target) => neededTargets.has(target));
  if (needed !== undefined)
    throw new TripodError("usage", `a volume cannot take the place of ${needed}`, {
      hint: "mount it elsewhere: -v SOURCE:/data",
    });
  const free = ({ destination }: OciMount): boolean => !targets.includes(destination);
  const own = files.map(({ source, target }) => mount(target, "bind", source, "rbind,rprivate,rw"));
  return [
    ...defaultMounts.filter(free),
    ...own.filter(free),
    // A parent must be mounted before what lies beneath it.
    ...asked.toSorted((a, b) => depth(a) - depth(b)),
  ];
}

function resourcesOf(limits: Limits): OciResources {
  const { memoryBytes, cpuQuotaUs, cpuPeriodUs, cpuShares, cpusetCpus, pids } = limits;
  const cpu = {
    ...(cpuQuotaUs === undefined ? {} : { quota: cpuQuotaUs, period: cpuPeriodUs ?? 100_000 }),
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpusetCpus === undefined ? {} : { cpus: cpusetCpus }),
  };
  return {
    // The runtime adds the devices that every container has.
    devices: [{ allow: false, access: "rwm" }],
    ...(memoryBytes === undefined ? {} : { memory: { limit: memoryBytes } }),
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
}
