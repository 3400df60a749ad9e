/**
 * What QEMU is allowed to call, from the warden's exec to its end: traced with TCG and with KVM, each with a network device, a block device and a
 * serial console, and rounded up to the calls that belong to the same need. QEMU's own `-sandbox` takes away more once it has begun.
 */

import type { SeccompProfile } from "../../spec/seccomp.ts";
import type { SyscallName } from "../../spec/syscalls.ts";
import { fileServerCalls } from "../vmm-seccomp.ts";

const cloneThread = 0x0001_0000;

const base: SeccompProfile = {
  allow: [
    // The exec itself, the dynamic loader, and the warden's last words if it fails.
    "execve",
    "execveat",
    "access",
    "faccessat",
    "faccessat2",
    "arch_prctl",
    "brk",
    "fstat",
    "newfstatat",
    "statx",
    "stat",
    "lstat",
    "mmap",
    "mprotect",
    "munmap",
    "mremap",
    "madvise",
    "open",
    "openat",
    "readlink",
    "readlinkat",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "getrandom",
    "uname",
    "exit",
    "exit_group",
    // Files, pipes, the console, block devices and taps.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "lseek",
    "close",
    "dup",
    "dup3",
    "fcntl",
    "fdatasync",
    "fsync",
    "ftruncate",
    "fallocate",
    "getdents64",
    "getcwd",
    "fchdir",
    "statfs",
    "fstatfs",
    "ioctl",
    "memfd_create",
    // The event loop.
    "ppoll",
    "poll",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "signalfd4",
    "timerfd_create",
    "timerfd_settime",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_delete",
    "restart_syscall",
    // Threads and signals.
    "futex",
    "membarrier",
    "sched_yield",
    "sched_getaffinity",
    "sched_setaffinity",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    "tgkill",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "get_mempolicy",
    "set_mempolicy",
    "sysinfo",
    // QEMU's own sandbox.
    "prctl",
    "seccomp",
  ],
  // A thread, never a process. The flags of clone3 lie in memory, where a filter cannot see them: without it the C library uses clone.
  allowIf: [{ name: "clone", argument: 0, mask: cloneThread, equals: cloneThread }],
  refuse: ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "mbind"],
};

/** The connection to a server of files. */
const connection: readonly SyscallName[] = [
  "recvmsg",
  "sendmsg",
  "recvfrom",
  "sendto",
  "getsockopt",
  "setsockopt",
  "getsockname",
  "getpeername",
  "socketpair",
  "shutdown",
];

/** `serves`: it is a server of files itself; `connects`: it has a connection to one. */
export const qemuSeccomp = ({
  serves,
  connects,
}: {
  readonly serves: boolean;
  readonly connects: boolean;
}): SeccompProfile => ({
  ...base,
  allow: [
    ...base.allow,
    ...(serves ? fileServerCalls.filter((name) => !base.allow.includes(name)) : []),
    ...(connects ? connection : []),
  ],
});
