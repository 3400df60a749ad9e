//! System calls that rustix does not wrap, each as a safe function.

use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub type Io<T> = Result<T, Errno>;

fn check(result: libc::c_long) -> Io<libc::c_long> {
    if result < 0 {
        // SAFETY: errno's address is the calling thread's own and always valid.
        return Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }));
    }
    Ok(result)
}

pub const ATTR_RDONLY: u64 = 0x1;
pub const ATTR_NOSUID: u64 = 0x2;
pub const ATTR_NODEV: u64 = 0x4;
pub const ATTR_NOEXEC: u64 = 0x8;

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes on the mount that `mount` stands for and makes it private; with `recursive` on all beneath.
pub fn mount_setattr(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> Io<()> {
    let attr = MountAttr {
        attr_set: set,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` lives across the call and its size is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// What `fork` returned, and where we are.
pub enum Cloned {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Clones the calling process (memory copied, as fork does) into new namespaces.
///
/// # Safety
/// The process must be single-threaded: the child goes on with a copy of every lock as it was.
pub unsafe fn clone3(namespaces: u64) -> Io<Cloned> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: no CLONE_VM and no stack, so the child runs on its own copy of this one; the struct outlives the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel stored a fresh descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent {
        pid: pid as i32,
        pidfd,
    })
}

/// Marks every descriptor from `first` on as closed at exec.
pub fn close_on_exec_from(first: u32) -> Io<()> {
    // SAFETY: no memory is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    })
    .map(drop)
}

/// Closes descriptors `first..=last` whoever owns them: for a process that has opened none, or a fresh child that shares nothing.
pub fn close_range(first: u32, last: u32) {
    if first <= last {
        // SAFETY: no memory is passed; the callers have no owner of these that they use again.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}

/// Replaces this process by the program behind `program`; returns only on failure.
pub fn execveat(program: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in null and point to C strings that outlive the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    });
    result.err().unwrap_or(Errno::INVAL)
}

/// Installs a classic BPF program as this thread's seccomp filter. Needs no_new_privs.
pub fn seccomp(filter: &[u8]) -> Io<()> {
    if filter.is_empty() || !filter.len().is_multiple_of(8) || filter.len() / 8 > 4096 {
        return Err(Errno::INVAL);
    }
    let program: Vec<libc::sock_filter> = filter
        .chunks_exact(8)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let fprog = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `fprog` points to `program`, which outlives the call; the kernel only reads it.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const fprog,
        )
    })
    .map(drop)
}

/// Asks for `signal` when the thread that made us ends. Lost on a change of credentials: ask again after one.
pub fn parent_death_signal(signal: libc::c_int) {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}

/// Orphans of our children become ours.
pub fn become_subreaper() -> Io<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } as libc::c_long).map(drop)
}

/// Blocks `signals` for this thread and returns a descriptor that reads them.
pub fn signal_fd(signals: &[libc::c_int]) -> Io<OwnedFd> {
    // SAFETY: a sigset is plain data; sigemptyset makes it valid before any other use, and it outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as libc::c_long)?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// The number of the next signal waiting on a `signal_fd`, if any.
pub fn next_signal(fd: BorrowedFd<'_>) -> Option<libc::c_int> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut info) {
        Ok(length) if length == info.len() => {
            Some(u32::from_ne_bytes([info[0], info[1], info[2], info[3]]) as libc::c_int)
        }
        _ => None,
    }
}

/// Ignores SIGPIPE (a write to a gone reader is an error to handle) or gives it back its default.
pub fn ignore_sigpipe(ignore: bool) {
    // SAFETY: neither disposition runs code of ours.
    unsafe { libc::signal(libc::SIGPIPE, if ignore { libc::SIG_IGN } else { libc::SIG_DFL }) };
}

/// Unblocks every signal, for a process about to exec.
pub fn unblock_signals() {
    // SAFETY: a sigset is plain data, made valid by sigemptyset; it outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Takes descriptor `number` that our parent gave us, or nothing if it is not open.
pub fn inherited_fd(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: no memory is passed; a closed number is an error.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } as libc::c_long).ok()?;
    // SAFETY: the number is open and by the contract of `serve` ours alone; called once per number at start.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a copy of `fd` at `number`, open across exec.
pub fn place_fd(fd: BorrowedFd<'_>, number: RawFd) -> Io<()> {
    // SAFETY: no memory is passed. The number's former owner, if any, is never used again (see stage/exec.rs).
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) } as libc::c_long).map(drop)
}

/// Ends a child of ours without running anything of the parent's that was copied with it.
pub fn exit_child(status: libc::c_int) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// Empties the bounding set, so that no exec gives a capability back.
pub fn drop_bounding_set() -> Io<()> {
    for capability in 0..64 {
        // SAFETY: no memory is passed. EINVAL: beyond the kernel's last capability.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } as libc::c_long) {
            Err(Errno::INVAL) => return Ok(()),
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// Makes the effective, permitted and inheritable sets empty (the ambient set with them).
pub fn drop_capabilities() -> Io<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header {
        version: 0x2008_0522,
        pid: 0,
    };
    let data = [0u32; 6];
    // SAFETY: version 3 reads two triples of u32; both structs outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// Makes `terminal` the controlling terminal of our (new) session.
pub fn make_controlling_terminal(terminal: BorrowedFd<'_>) -> Io<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) } as libc::c_long).map(drop)
}

/// Sends any signal, real-time ones too, to the process behind a pidfd.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> Io<()> {
    // SAFETY: a null siginfo asks for what kill(2) would send.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Joins the namespaces `kinds` (CLONE_NEW…) of `fd`: a namespace file, or a pidfd for several at once.
pub fn setns(fd: BorrowedFd<'_>, kinds: libc::c_int) -> Io<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(fd.as_raw_fd(), kinds) } as libc::c_long).map(drop)
}

/// Makes new namespaces for this thread.
pub fn unshare(kinds: libc::c_int) -> Io<()> {
    // SAFETY: only namespace flags are passed, never CLONE_FILES.
    check(unsafe { libc::unshare(kinds) } as libc::c_long).map(drop)
}

/// Gives back the pages of the stack that only deeper calls have used: a warden lives as long as its sandbox, and most of its stack was for plans.
pub fn release_stack() {
    const PAGE: usize = 4096;
    /// What the calls from here on are likely to need again.
    const KEPT: usize = 2 * PAGE;
    const DEPTH: usize = 512 << 10;
    let here = 0u8;
    let top = ((&raw const here).addr() - KEPT) & !(PAGE - 1);
    // SAFETY: everything below this frame is dead. Pages that were never mapped make the call fail after it has done its work on the others.
    unsafe { libc::madvise((top - DEPTH) as *mut libc::c_void, DEPTH, libc::MADV_DONTNEED) };
}
