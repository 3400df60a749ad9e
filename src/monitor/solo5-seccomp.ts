/**
 * What our tender is allowed to call while it reads a kernel and makes its machine: the part of its life in which it handles a hostile file without
 * its own filter, which is far narrower and comes before the guest's first instruction. It makes no file, no socket, no process and no thread.
 */

import type { SeccompProfile } from "../spec/seccomp.ts";
import { type SyscallName, syscallNumbers } from "../spec/syscalls.ts";

export const tenderSeccomp: SeccompProfile = {
  allow: [
    // The exec itself, the C library's start, and the warden's last words if it fails.
    "execve",
    "execveat",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "personality",
    "prctl",
    "prlimit64",
    "uname",
    "getrandom",
    "getpid",
    "gettid",
    "tgkill",
    "exit",
    "exit_group",
    // Memory, the guest's included.
    "brk",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "madvise",
    // The fds that it was given.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "lseek",
    "fstat",
    "newfstatat",
    "statx",
    "fcntl",
    "ioctl",
    "close",
    // Waiting, clocks, signals.
    "poll",
    "ppoll",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "timerfd_create",
    "timerfd_settime",
    "eventfd2",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "restart_syscall",
    "futex",
    "sched_yield",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    // Its own filter.
    "seccomp",
  ],
  // A tender built with Debian's Rust is linked to glibc, which asks for its own path, its stack and its processors, and does without an answer.
  refuse: ["readlink", "readlinkat", "openat", "sched_getaffinity"],
};

const cloneThread = 0x0001_0000;

/** What no tender has a use for, and what reaches past its own process: other processes, mounts, namespaces, the machine, the kernel's weak sides. */
const beyondTenders: ReadonlySet<SyscallName> = new Set<SyscallName>([
  ...(["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd", "kcmp"] as const),
  ...(["kill", "tkill", "pidfd_send_signal", "fork", "vfork"] as const),
  ...(["mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "mount_setattr"] as const),
  ...(["fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "mknod", "mknodat"] as const),
  ...(["unshare", "setns", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid"] as const),
  ...(["bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl"] as const),
  ...(["init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"] as const),
  ...(["clock_settime", "settimeofday", "adjtimex", "clock_adjtime", "iopl", "ioperm", "syslog"] as const),
  ...(["connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg"] as const),
  ...(["io_uring_setup", "io_uring_enter", "io_uring_register", "clone", "clone3", "socket"] as const),
]);

const isSyscallName = (name: string): name is SyscallName => Object.hasOwn(syscallNumbers, name);

/**
 * For Solo5's own programs, whose calls differ from version to version: all but what no version can need. They confine themselves further before the
 * guest runs.
 */
export const solo5ProgramSeccomp: SeccompProfile = {
  allow: Object.keys(syscallNumbers)
    .filter(isSyscallName)
    .filter((name) => !beyondTenders.has(name)),
  // A thread, never a process; the C library falls back to clone, whose flags a filter can see.
  allowIf: [{ name: "clone", argument: 0, mask: cloneThread, equals: cloneThread }],
  refuse: ["clone3"],
};
