/**
 * The plan: a list of steps, as data, that turns a decision into a sandbox. TypeScript writes it, the warden
 * (`native/warden`) carries it out, journals it and can undo every step. This file is the source of the format;
 * `native/vectors/plans.json` is written from it and read by both languages' tests.
 *
 * A sandbox is made by two plans: the *ground* (cgroup, namespaces, network, root file system) and, after a look at
 * the network, the *launch* (tap, files, spawn). Steps run in the order of the list. What a step leaves behind is
 * undone newest first when a step fails, when the sandbox ends, and by `tripod-warden undo` after a crash.
 */

import type { CgroupPath, HostPath, SandboxPath, StatePath } from "./paths.ts";

/** Standard padded base64 of bytes. */
export type Base64 = string;
/** `02:fc:…`, lower case, colons. */
export type Mac = string;

export type NamespaceKind = "user" | "mount" | "pid" | "network" | "ipc" | "uts" | "cgroup" | "time";

/** Limits of one sandbox, monitor overhead included. Absent means unlimited. */
export interface Limits {
  /** Bytes of memory (cgroup v1 `memory.limit_in_bytes`, v2 `memory.max`). */
  readonly memoryBytes?: number;
  /** Microseconds of CPU per period; `cpuPeriodUs` defaults to 100 000. */
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs?: number;
  /** Relative weight in cgroup v1 shares, 2…262144. v2 weight is derived as runc derives it. */
  readonly cpuShares?: number;
  readonly cpusetCpus?: string;
  readonly pids?: number;
}

/** A mapping of ids for a new user namespace. */
export interface IdMap {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Whom a process runs as. Capabilities are always empty and no_new_privs always set. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/**
 * How a monitor or container is asked to stop before it is killed. `say` is sent as it is to a socket, or without one on the monitor's channel
 * (`Channel`).
 */
export type StopMeans =
  | { readonly signal: number; readonly deadlineMs: number }
  | { readonly socket: StatePath; readonly say: Base64; readonly deadlineMs: number }
  | { readonly say: Base64; readonly deadlineMs: number };

/**
 * A stream between the warden and the monitor, at a descriptor of the monitor's. After the exec the warden says `say` and takes the monitor for
 * started when it has read `expect` somewhere in the answer; a monitor that ends before is a failed start.
 */
export interface Channel {
  readonly at: number;
  readonly say: Base64;
  readonly expect: Base64;
  readonly deadlineMs: number;
}

/** Where the workload's standard streams go. The warden owns them; no byte crosses Node. */
export interface Stdio {
  /** Allocate a pseudo-terminal; stdout and stderr are then one stream. */
  readonly terminal: boolean;
  /** First window size of the terminal. */
  readonly rows?: number;
  readonly cols?: number;
  /**
   * Standard input: none (`/dev/null`) or the warden's own fd 0. `engine`: all three streams are the warden's own, handed on as they are, or the
   * terminal, whose other end goes to the console socket that the warden was started with; nothing is read, copied or logged here.
   */
  readonly stdin: "null" | "inherit" | "engine";
  /** Also copy output to the warden's own fds 1 and 2. */
  readonly tee: boolean;
  /** `log` in the state directory, CRI format (`<RFC 3339 nanoseconds> stdout|stderr F|P <line>`); rotated to `log.1` … Absent: none. */
  readonly log?: { readonly maxBytes: number; readonly files: number };
  /**
   * FIFOs or files of the host; one that is absent is nowhere. With `stdin: "engine"` the warden opens them and gives them to the workload as they are; else they
   * become its own streams, for a terminal. Of a FIFO it keeps a reading end, so that a reader may come and go; input is held open until the start.
   */
  readonly pipes?: { readonly stdin?: HostPath; readonly stdout?: HostPath; readonly stderr?: HostPath };
}

/** An fd opened earlier in the plan (`open`, `tap`), given to the spawned process at a number. */
export interface FdGrant {
  readonly name: string;
  readonly at: number;
}

/** A published port. */
export interface PortMapping {
  readonly hostIp?: string;
  readonly hostPort: number;
  readonly guestPort: number;
  readonly protocol: "tcp" | "udp";
}

/** A process limit: `type` without the `RLIMIT_` prefix, lower case (`nofile`, `core`, `as`, …). */
export interface Rlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export type Step =
  /** A directory in the state directory; parents must exist or come earlier. */
  | { readonly do: "directory"; readonly at: StatePath; readonly mode: number }
  /** A file in the state directory; `owner` absent: root's. */
  | {
      readonly do: "file";
      readonly at: StatePath;
      readonly content: Base64;
      readonly mode: number;
      readonly owner?: { readonly uid: number; readonly gid: number };
    }
  /**
   * Joins files of the host and bytes to one file in the state directory: an initrd. Every part begins on a boundary of 4 bytes, the gap before it is zeros, as
   * Linux wants archives that follow each other. A part that is no regular file (a symbolic link too) fails the step; so do more than 2 GiB.
   */
  | {
      readonly do: "concat";
      readonly at: StatePath;
      readonly parts: readonly (
        | { readonly from: HostPath; readonly nofollow?: true }
        | { readonly content: Base64 }
      )[];
      readonly mode: number;
    }
  /**
   * A cgroup with limits; processes spawned by later steps are placed in it. `warden`: the warden is placed in it too, where engines look for the
   * sandbox's, and what can be frozen and denied devices goes to its child `guest`.
   */
  | { readonly do: "cgroup"; readonly path: CgroupPath; readonly limits: Limits; readonly warden: boolean }
  /**
   * Namespaces. `network` is made or joined by the warden itself (so that its /proc entry names it); the others by the
   * stage process that later becomes the monitor. A made network namespace gets its loopback up.
   */
  | {
      readonly do: "namespaces";
      readonly make: readonly NamespaceKind[];
      readonly join: readonly { readonly kind: NamespaceKind; readonly path: HostPath }[];
      readonly uidMap?: readonly IdMap[];
      readonly gidMap?: readonly IdMap[];
      readonly hostname?: string;
    }
  /**
   * CNI ADD of every plugin of `<lib>/networks/<name>.conflist`, in the host's namespaces, for `interface` in the sandbox's
   * network namespace. Undo is DEL from the same file, re-read.
   */
  | {
      readonly do: "network";
      readonly name: string;
      readonly interface: string;
      readonly pluginDirs: readonly HostPath[];
      readonly ports: readonly PortMapping[];
    }
  /** An overlay of unpacked layers (topmost first) mounted in the warden's own mount namespace; the upper directory is `<at>.rw`. */
  | { readonly do: "overlay"; readonly lowers: readonly HostPath[]; readonly at: StatePath }
  /** As `overlay`, by copying, for hosts without overlayfs. */
  | { readonly do: "copy"; readonly lowers: readonly HostPath[]; readonly at: StatePath }
  /**
   * Takes the file system that is mounted at `at` away from the host, in the mount namespace that the warden was started in, so that a guest can have its block
   * device. Fails, and leaves all as it was, while somebody else holds it. Undo mounts it again.
   */
  | { readonly do: "unmount"; readonly at: HostPath }
  /**
   * Mounts what an engine says makes up a root file system, on the host and for the sandbox, one over the other; everything mounted there is taken away at
   * the end. `type`, `source` and `options` as containerd's `Mount` has them; `bind` and `rbind` are binds.
   */
  | {
      readonly do: "rootfs";
      readonly at: HostPath;
      readonly mounts: readonly {
        readonly type: string;
        readonly source: string;
        readonly options: readonly string[];
      }[];
    }
  /** A private root for the monitor: an empty tmpfs of at most `sizeBytes`, made read-only before exec. */
  | { readonly do: "root"; readonly sizeBytes: number }
  /**
   * Bind a host file or directory into the private root, symlinks never followed inside it. nosuid, nodev always. `volumes` are then mounted in it, one after
   * the other, each at a path of which it is the root: links mean what they mean in a container with that root, and a place that is missing is made there.
   * `readonly` is not theirs.
   */
  | {
      readonly do: "bind";
      readonly from: HostPath;
      readonly at: SandboxPath;
      readonly readonly: boolean;
      readonly noexec: boolean;
      readonly recursive: boolean;
      readonly nofollow?: true;
      readonly volumes?: readonly {
        readonly from: HostPath;
        readonly at: SandboxPath;
        readonly readonly: boolean;
        readonly recursive: boolean;
      }[];
    }
  /** A kernel file system in the private root. */
  | {
      readonly do: "mount";
      readonly type: "tmpfs" | "proc" | "devpts" | "sysfs";
      readonly at: SandboxPath;
      readonly options: readonly string[];
    }
  /** A device node in the private root with the host node's numbers, owned by the spawned user, mode 0600. */
  | { readonly do: "device"; readonly from: HostPath; readonly at: SandboxPath }
  /**
   * Opens a host file for the spawned process, under a name. `nofollow`, here and where a path is bound or joined: the path was resolved before in a tree that
   * others can change (a bundle's root file system), so a symbolic link anywhere on it fails the step; so does what is opened and is no regular file.
   */
  | {
      readonly do: "open";
      readonly name: string;
      readonly path: HostPath;
      readonly write: boolean;
      readonly nofollow?: true;
    }
  /**
   * A tap in the sandbox's network namespace, kept as an fd named `name` and gone with it. `redirect` names the interface
   * whose frames it takes, both ways. `vnetHeader`: frames carry virtio's header, for a monitor that cannot ask for it itself. With an `owner` there is
   * no fd: the tap stays until its namespace goes or it is undone, and the owner opens it by its name.
   */
  | {
      readonly do: "tap";
      readonly name: string;
      readonly mtu: number;
      readonly redirect?: string;
      readonly vnetHeader?: true;
      readonly owner?: { readonly uid: number; readonly gid: number };
    }
  /**
   * Gives the guest behind a tap a network of two addresses, which leaves by `link` under that interface's address: for a namespace that others use as well.
   * `ports` of the link's address are the guest's. By iptables, in the sandbox's namespace; undone there when the namespace is not ours.
   */
  | {
      readonly do: "nat";
      readonly tap: string;
      readonly link: string;
      /** IPv4 addresses; both lie in one subnet of `prefix` bits. */
      readonly host: string;
      readonly guest: string;
      readonly prefix: number;
      readonly ports: readonly { readonly port: number; readonly protocol: "tcp" | "udp" }[];
    }
  /**
   * Runs an OCI hook with the state on stdin, in which the warden sets `pid` and `status`: now, or at the time that `when` names. A `poststop` hook is
   * kept in `hooks.json` for whoever removes the sandbox.
   */
  | {
      readonly do: "hook";
      readonly when: "now" | "start" | "poststart" | "poststop";
      readonly path: HostPath;
      readonly argv: readonly string[];
      readonly env: readonly string[];
      readonly timeoutMs: number;
      readonly where: "runtime" | "container";
      readonly state: Base64;
    }
  /** Creates a container by runc or crun from a bundle in the state directory; `start` runs it. */
  | {
      readonly do: "oci";
      readonly runtime: "runc" | "crun";
      readonly path: HostPath;
      readonly bundle: StatePath;
      readonly stdio: Stdio;
      readonly stop: StopMeans;
    }
  /**
   * Starts a program beside the monitor that serves it (a server of files): at once, in a pid, mount, ipc, uts and cgroup namespace and under a private root of
   * its own, in the sandbox's cgroup. It finds a listening socket at fd number `listensAt`, which is `socket` in the state directory, open to every user who
   * is given it. With `connects` the warden connects to it and keeps that end as an fd of this name. The helper's end is the sandbox's.
   */
  | {
      readonly do: "helper";
      readonly program: HostPath;
      readonly argv: readonly string[];
      readonly env: readonly string[];
      readonly as: Credentials;
      readonly socket: StatePath;
      readonly listensAt: number;
      readonly connects?: string;
      readonly rootBytes: number;
      readonly binds: readonly Omit<Extract<Step, { do: "bind" }>, "do">[];
      readonly proc: boolean;
      readonly seccomp?: Base64;
      readonly rlimits: readonly Rlimit[];
    }
  /** Prepares the monitor up to exec; `start` lets it go. `program` is opened on the host and executed by fd. */
  | {
      readonly do: "spawn";
      readonly program: HostPath;
      readonly argv: readonly string[];
      readonly env: readonly string[];
      readonly as: Credentials;
      readonly fds: readonly FdGrant[];
      /** A classic BPF program, an array of `struct sock_filter` as bytes. */
      readonly seccomp?: Base64;
      readonly rlimits: readonly Rlimit[];
      readonly oomScoreAdj?: number;
      readonly maskedPaths: readonly SandboxPath[];
      readonly readonlyPaths: readonly SandboxPath[];
      /** Statuses of the program that stand for another exit code of the workload: pairs of status and code. */
      readonly exitCodes?: readonly (readonly [status: number, exitCode: number])[];
      readonly stdio: Stdio;
      readonly stop: StopMeans;
      readonly channel?: Channel;
    };

export type StepKind = Step["do"];

export interface Plan {
  readonly version: 1;
  /** The sandbox's id, `[A-Za-z0-9_][A-Za-z0-9_+.-]{0,127}`; every name the plan makes derives from it. */
  readonly id: string;
  readonly steps: readonly Step[];
}
