/**
 * What our tender is allowed to call while it reads a kernel and makes its machine: the part of its life in which it handles a hostile file without
 * its own filter, which is far narrower and comes before the guest's first instruction. It makes no file, no socket, no process and no thread.
 */

import type { SeccompProfile } from "../spec/seccomp.ts";

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
};
