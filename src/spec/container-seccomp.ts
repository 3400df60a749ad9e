/**
 * The seccomp profile of containers, in runc's format. It allows what it does not name: an ordinary program never notices it. Denied is what a container
 * without extra capabilities has no business with and what has been the kernel's weak side: each group says why. EPERM, as the missing
 * capability would answer; ENOSYS where programs fall back to an older call.
 */

import type { OciSeccomp, OciSeccompRule } from "./runtime.ts";
import type { Arch } from "./values.ts";

const EPERM = 1;
const ENOSYS = 38;

const deny = (names: readonly string[], args?: OciSeccompRule["args"]): OciSeccompRule => ({
  names,
  action: "SCMP_ACT_ERRNO",
  errnoRet: EPERM,
  ...(args === undefined ? {} : { args }),
});

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: each looked at by itself, since a filter compares one masked value. */
const namespaceFlags = [
  0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
];

const AF_VSOCK = 40;
const PER_LINUX = 0;
const PER_LINUX32 = 8;
const UNAME26 = 0x0020_0000;
const PER_QUERY = 0xffff_ffff;

const rules: readonly OciSeccompRule[] = [
  // The machine: another kernel, its modules, its clock, its ports, its swap, its accounting.
  deny(["kexec_load", "kexec_file_load", "reboot", "init_module", "finit_module", "delete_module"]),
  deny([
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "_sysctl",
    "sysfs",
    "uselib",
    "ustat",
  ]),
  deny([
    "settimeofday",
    "clock_settime",
    "clock_settime64",
    "stime",
    "clock_adjtime",
    "clock_adjtime64",
    "adjtimex",
  ]),
  deny(["iopl", "ioperm", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup"]),
  deny(["lookup_dcookie", "vm86", "vm86old"]),
  // Mounts and roots: without CAP_SYS_ADMIN they fail anyway; with a user namespace they are the way to file-system bugs.
  deny(["mount", "umount", "umount2", "pivot_root", "open_tree", "move_mount", "mount_setattr"]),
  deny([
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
  ]),
  // New namespaces, which would hand out every capability over themselves.
  deny(["unshare", "setns"]),
  ...namespaceFlags.map((flag) =>
    deny(["clone"], [{ index: 0, value: flag, valueTwo: flag, op: "SCMP_CMP_MASKED_EQ" }]),
  ),
  // Its flags lie in memory, unseen by a filter; the C libraries then use clone.
  { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ENOSYS },
  // The kernel's own programs, rings and key stores, which belong to no namespace.
  deny(["bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl"]),
  deny(["io_uring_setup", "io_uring_enter", "io_uring_register"]),
  // Other processes' memory across the border that a shared pid namespace would open, and their fds.
  deny(["process_madvise", "kcmp", "pidfd_getfd"]),
  // Memory placement is the host's.
  deny(["mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node"]),
  // A vsock speaks to the host and to other sandboxes' machines, past every network namespace.
  deny(["socket"], [{ index: 0, value: AF_VSOCK, op: "SCMP_CMP_EQ" }]),
  // Only personalities that change no protection.
  deny(
    ["personality"],
    [PER_LINUX, PER_LINUX32, UNAME26, UNAME26 | PER_LINUX32, PER_QUERY].map((value) => ({
      index: 0,
      value,
      op: "SCMP_CMP_NE",
    })),
  ),
];

/** Every architecture whose calls the processor can make: one that is not named would be killed. */
const architectures: Readonly<Record<Arch, readonly string[]>> = {
  amd64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
};

export const containerSeccomp = (arch: Arch): OciSeccomp => ({
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: architectures[arch],
  syscalls: rules,
});
