//! ABI `spt` 2: system calls that the tender's filter leaves open.

use crate::block::Block;
use crate::net::Net;
use crate::{Error, manifest};
use core::arch::asm;

#[repr(C)]
pub struct BootInfo {
    pub memory_size: u64,
    pub kernel_end: u64,
    pub command_line: u64,
    pub manifest: u64,
    epoll: i32,
    timer: i32,
}

const READ: u64 = 0;
const WRITE: u64 = 1;
const PREAD: u64 = 17;
const PWRITE: u64 = 18;
const ARCH_PRCTL: u64 = 158;
const CLOCK_GETTIME: u64 = 228;
const EXIT_GROUP: u64 = 231;
const EPOLL_PWAIT: u64 = 281;
const TIMERFD_SETTIME: u64 = 286;

const ARCH_SET_FS: u64 = 0x1002;
const TFD_TIMER_ABSTIME: u64 = 1;
const CLOCK_REALTIME: u64 = 0;
const CLOCK_MONOTONIC: u64 = 1;
const EINTR: i64 = -4;
const EAGAIN: i64 = -11;
const TIMER_EVENT: u64 = 0xffff_fffe;
const SECOND: u64 = 1_000_000_000;

/// A system call of up to six arguments.
///
/// # Safety
/// As the call documents for its arguments.
pub unsafe fn syscall(number: u64, arguments: [u64; 6]) -> i64 {
    let result: i64;
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's promise; rcx and r11 are what the instruction overwrites.
    unsafe {
        asm!("syscall", inlateout("rax") number as i64 => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

pub(crate) fn set_up() {
    set_thread_pointer(0);
}

pub(crate) fn set_thread_pointer(address: u64) {
    // SAFETY: nothing here uses the thread pointer but the caller.
    unsafe { syscall(ARCH_PRCTL, [ARCH_SET_FS, address, 0, 0, 0, 0]) };
}

pub(crate) fn halt(status: i32, _cookie: u64) -> ! {
    loop {
        // SAFETY: ends the process.
        unsafe { syscall(EXIT_GROUP, [status as u64, 0, 0, 0, 0, 0]) };
    }
}

pub(crate) fn puts(bytes: &[u8]) {
    // SAFETY: a valid buffer that the call only reads.
    unsafe { syscall(WRITE, [1, bytes.as_ptr() as u64, bytes.len() as u64, 0, 0, 0]) };
}

pub(crate) fn clock_monotonic() -> u64 {
    clock(CLOCK_MONOTONIC)
}

pub(crate) fn clock_wall() -> u64 {
    clock(CLOCK_REALTIME)
}

fn clock(which: u64) -> u64 {
    let mut now = [0_u64; 2];
    // SAFETY: the call fills a struct timespec, two 64-bit numbers.
    unsafe { syscall(CLOCK_GETTIME, [which, now.as_mut_ptr() as u64, 0, 0, 0, 0]) };
    now[0] * SECOND + now[1]
}

pub(crate) fn yield_until(deadline: u64) -> u64 {
    #[repr(C, packed)]
    #[derive(Clone, Copy)]
    struct Event {
        events: u32,
        mark: u64,
    }
    let info = crate::start::boot_info();
    // The lowest bit set, or a deadline of 0 would disarm the timer.
    let timer = [0, 0, deadline / SECOND, (deadline % SECOND) | 1];
    let mut events = [Event { events: 0, mark: 0 }; 64];
    let room = manifest::entries().len() as u64; // at most every device, and the timer
    // SAFETY: `timer` is a struct itimerspec; `events` has room for 64, more than `room`.
    let count = unsafe {
        syscall(
            TIMERFD_SETTIME,
            [
                info.timer as u64,
                TFD_TIMER_ABSTIME,
                timer.as_ptr() as u64,
                0,
                0,
                0,
            ],
        );
        loop {
            let arguments = [
                info.epoll as u64,
                events.as_mut_ptr() as u64,
                room,
                u64::MAX,
                0,
                0,
            ];
            match syscall(EPOLL_PWAIT, arguments) {
                EINTR => continue,
                count => break count.max(0),
            }
        }
    };
    let marks = events.iter().take(count as usize).map(|event| event.mark);
    marks
        .filter(|&mark| mark != TIMER_EVENT)
        .fold(0, |set, handle| set | 1 << handle)
}

pub(crate) fn net_read(net: &Net, into: &mut [u8]) -> Result<usize, Error> {
    // SAFETY: a valid buffer.
    match unsafe {
        syscall(
            READ,
            [net.fd, into.as_mut_ptr() as u64, into.len() as u64, 0, 0, 0],
        )
    } {
        EAGAIN | 0 => Err(Error::Again),
        length @ 1.. => Ok(length as usize),
        _ => Err(Error::Unspecified),
    }
}

pub(crate) fn net_write(net: &Net, frame: &[u8]) -> Result<(), Error> {
    // SAFETY: a valid buffer that the call only reads.
    let written = unsafe {
        syscall(
            WRITE,
            [net.fd, frame.as_ptr() as u64, frame.len() as u64, 0, 0, 0],
        )
    };
    if written == frame.len() as i64 {
        Ok(())
    } else {
        Err(Error::Unspecified)
    }
}

pub(crate) fn block_read(block: &Block, offset: u64, into: &mut [u8]) -> Result<(), Error> {
    let length = into.len() as u64;
    // SAFETY: a valid buffer.
    let done = unsafe { syscall(PREAD, [block.fd, into.as_mut_ptr() as u64, length, offset, 0, 0]) };
    if done == length as i64 {
        Ok(())
    } else {
        Err(Error::Unspecified)
    }
}

pub(crate) fn block_write(block: &Block, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    let length = bytes.len() as u64;
    // SAFETY: a valid buffer that the call only reads.
    let done = unsafe { syscall(PWRITE, [block.fd, bytes.as_ptr() as u64, length, offset, 0, 0]) };
    if done == length as i64 {
        Ok(())
    } else {
        Err(Error::Unspecified)
    }
}
