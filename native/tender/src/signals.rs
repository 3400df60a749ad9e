//! What ends a tender from outside: SIGTERM and SIGINT, with exit status 128 + N.
//!
//! Handlers, not the default action: as process 1 of a PID namespace the default action would be ignored. The handler
//! is one system call, because it may run while guest code has taken over the stack, the thread pointer and the filter
//! on system calls: it runs on a stack of its own, touches no memory and needs `exit_group` only.

use crate::failure::{Failure, Result};
use std::arch::naked_asm;

/// Makes SIGTERM and SIGINT end the process, gives faults back to the system (the Rust runtime's handlers could not
/// return under the filter), and unblocks what the parent may have left blocked.
pub fn install() -> Result<()> {
    alternate_stack()?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        act(
            signal,
            end_process as *const () as libc::sighandler_t,
            libc::SA_ONSTACK,
        )?;
    }
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGSYS,
    ] {
        act(signal, libc::SIG_DFL, 0)?;
    }
    // SAFETY: a set on the stack, emptied and then used as the mask.
    let result = unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => Err(Failure::last("Could not unblock signals")),
    }
}

fn act(signal: i32, handler: libc::sighandler_t, flags: i32) -> Result<()> {
    // SAFETY: an all-zero sigaction is valid; the handler is a function for signals or SIG_DFL.
    let result = unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => Err(Failure::last(format!("Could not handle signal {signal}"))),
    }
}

/// A stack for the handlers, never given back. The kernel says how much a signal frame takes on this processor.
fn alternate_stack() -> Result<()> {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    const PAGE: usize = 4096;
    // SAFETY: looks a number up in the auxiliary vector.
    let frame = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    let size = frame.max(libc::MINSIGSTKSZ).next_multiple_of(PAGE) + PAGE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    // SAFETY: a new anonymous mapping; then the kernel is told to use exactly that, which stays mapped for good.
    let result = unsafe {
        let bottom = libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            -1,
            0,
        );
        if bottom == libc::MAP_FAILED {
            -1
        } else {
            let stack = libc::stack_t {
                ss_sp: bottom,
                ss_flags: 0,
                ss_size: size,
            };
            libc::sigaltstack(&raw const stack, std::ptr::null_mut())
        }
    };
    match result {
        0 => Ok(()),
        _ => Err(Failure::last("Could not set up a stack for signals")),
    }
}

/// `exit_group(128 + signal)`; the signal is the first argument.
#[unsafe(naked)]
#[cfg(target_arch = "x86_64")]
extern "C" fn end_process() {
    naked_asm!(
        "add edi, 128",
        "mov eax, {exit_group}",
        "syscall",
        "ud2",
        exit_group = const libc::SYS_exit_group,
    )
}

#[unsafe(naked)]
#[cfg(target_arch = "aarch64")]
extern "C" fn end_process() {
    naked_asm!(
        "add w0, w0, #128",
        "mov x8, {exit_group}",
        "svc #0",
        "brk #1",
        exit_group = const libc::SYS_exit_group,
    )
}
