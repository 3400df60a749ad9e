/**
 * What monitors written in Rust on KVM have in common in the calls that they make: traced from starts to ends of Firecracker and Cloud Hypervisor with a
 * console, a network device and a disk, with both C libraries that they are linked to. Each takes away more by itself once its machine stands.
 */

import type { ArgumentRule, SeccompProfile } from "../spec/seccomp.ts";
import type { SyscallName } from "../spec/syscalls.ts";

const cloneThread = 0x0001_0000;

const common: readonly SyscallName[] = [
  // The exec itself, the loader and the C library's start, and the warden's last words if it fails.
  "execve",
  "execveat",
  "access",
  "faccessat",
  "faccessat2",
  "arch_prctl",
  "set_tid_address",
  "set_robust_list",
  "rseq",
  "prlimit64",
  "getrandom",
  "uname",
  "exit",
  "exit_group",
  // Memory, the guest's included.
  "brk",
  "mmap",
  "mprotect",
  "mremap",
  "munmap",
  "madvise",
  // Files, the console, disks, taps.
  "open",
  "openat",
  "read",
  "write",
  "readv",
  "writev",
  "pread64",
  "pwrite64",
  "preadv",
  "pwritev",
  "preadv2",
  "pwritev2",
  "lseek",
  "fstat",
  "newfstatat",
  "stat",
  "statx",
  "readlink",
  "readlinkat",
  "fcntl",
  "fsync",
  "fdatasync",
  "ioctl",
  "dup",
  "dup2",
  "dup3",
  "close",
  "memfd_create",
  "ftruncate",
  // The event loops, clocks.
  "poll",
  "ppoll",
  "epoll_create1",
  "epoll_ctl",
  "epoll_wait",
  "epoll_pwait",
  "eventfd2",
  "timerfd_create",
  "timerfd_settime",
  "clock_gettime",
  "clock_getres",
  "clock_nanosleep",
  "nanosleep",
  "gettimeofday",
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
  "sigaltstack",
  "tgkill",
  "tkill",
  "getpid",
  "gettid",
  "getuid",
  "geteuid",
  "getgid",
  "getegid",
  "sysinfo",
  // Their own filters.
  "prctl",
  "seccomp",
];

/** The common profile, with what one monitor calls besides. Disks are read and written without the kernel's asynchronous interfaces, which they do without. */
export const vmmSeccomp = (more: readonly SyscallName[]): SeccompProfile => ({
  allow: [...common, ...more],
  // A thread, never a process; the C library falls back to clone, whose flags a filter can see.
  allowIf: [{ name: "clone", argument: 0, mask: cloneThread, equals: cloneThread }],
  refuse: ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup"],
});

const familyUnix = 1;
/** A socket of no network's. */
export const unixSocket: ArgumentRule = {
  name: "socket",
  argument: 0,
  mask: 0xffff_ffff,
  equals: familyUnix,
};

/** What a monitor calls besides that ends its guest's vsock in sockets: it listens at one, and connects to others. */
export const vsockCalls: readonly SyscallName[] = [
  "bind",
  "listen",
  "accept4",
  "connect",
  "recvfrom",
  "sendto",
  "shutdown",
];

/** What a server of files calls besides, beneath the directory that it was given. */
export const fileServerCalls: readonly SyscallName[] = [
  "mkdirat",
  "mknodat",
  "linkat",
  "symlinkat",
  "renameat",
  "renameat2",
  "unlinkat",
  "chmod",
  "fchmod",
  "fchmodat",
  "fchown",
  "fchownat",
  "utimensat",
  "truncate",
  "fallocate",
  "copy_file_range",
  "flock",
  "getdents64",
  "statfs",
  "fstatfs",
  "sync_file_range",
  "syncfs",
  "getxattr",
  "lgetxattr",
  "fgetxattr",
  "setxattr",
  "lsetxattr",
  "fsetxattr",
  "lremovexattr",
  "fremovexattr",
  "removexattr",
  "listxattr",
  "llistxattr",
  "flistxattr",
];
