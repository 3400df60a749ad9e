//! The unikernel for Solo5's `spt`: a guest in the tender's own process, which reaches the host by the few system calls
//! that its seccomp filter leaves.
#![no_std]
#![no_main]

use core::arch::asm;
use core::ffi::c_char;
use core::fmt::Write;
use core::panic::PanicInfo;

use httpreply::net::Storage;
use httpreply::once::Once;
use httpreply::solo5::{self, HANDLE, Manifest};
use httpreply::unikernel::{Link, Machine, run};

httpreply::solo5_notes!(2);

static STORAGE: Once<Storage> = Once::new(Storage::new());

/// What the tender leaves at entry (`spt_abi.h`).
#[repr(C)]
struct BootInfo {
    memory_bytes: u64,
    kernel_end: u64,
    boot_line: *const c_char,
    manifest: *const Manifest,
    epoll_fd: i32,
    timer_fd: i32,
}

/// The tender jumps here with a stack as a called function has it.
#[unsafe(no_mangle)]
extern "C" fn _start(info: &'static BootInfo) -> ! {
    if !solo5::has_stack(info.memory_bytes) {
        print(solo5::NO_STACK);
        exit(1);
    }
    // SAFETY: the tender's boot information lies below the image, and nobody writes to it any more.
    let (line, manifest) = unsafe { (solo5::boot_line(info.boot_line), &*info.manifest) };
    let Some(storage) = STORAGE.take() else { exit(255) };
    let guest = Guest {
        link: manifest.link(),
        net_fd: manifest.entry[HANDLE].host_fd & 0xffff_ffff,
        epoll_fd: info.epoll_fd.unsigned_abs().into(),
        timer_fd: info.timer_fd.unsigned_abs().into(),
        armed_us: None,
    };
    run(guest, "spt", line, storage)
}

struct Guest {
    link: Option<Link>,
    net_fd: u64,
    epoll_fd: u64,
    timer_fd: u64,
    /// What the timer is set to.
    armed_us: Option<u64>,
}

#[repr(C)]
#[derive(Default)]
struct Time {
    seconds: u64,
    nanoseconds: u64,
}

impl Machine for Guest {
    fn now_us(&mut self) -> u64 {
        let time = clock(CLOCK_MONOTONIC);
        time.seconds * 1_000_000 + time.nanoseconds / 1000
    }

    fn entropy(&mut self) -> u64 {
        let (wall, monotonic) = (clock(CLOCK_REALTIME), clock(CLOCK_MONOTONIC));
        (wall.seconds << 30 | wall.nanoseconds) ^ monotonic.nanoseconds.rotate_left(40)
    }

    fn print(&mut self, text: &str) {
        print(text);
    }

    fn exit(&mut self, status: u8) -> ! {
        exit(status)
    }

    fn link(&self) -> Option<Link> {
        self.link
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.link?;
        let (at, size) = (frame.as_mut_ptr().addr() as u64, frame.len() as u64);
        // SAFETY: the kernel writes at most `size` bytes to `frame`.
        let length = unsafe { system_call(READ, [self.net_fd, at, size, 0, 0, 0]) };
        usize::try_from(length).ok().filter(|&length| length > 0)
    }

    fn can_send(&mut self) -> bool {
        true
    }

    fn send(&mut self, frame: &[u8]) {
        let (at, size) = (frame.as_ptr().addr() as u64, frame.len() as u64);
        // SAFETY: the kernel reads `size` bytes of `frame`. A tap that is full or down drops the frame, as a wire would.
        unsafe { system_call(WRITE, [self.net_fd, at, size, 0, 0, 0]) };
    }

    fn wait(&mut self, deadline_us: Option<u64>) {
        if self.armed_us != deadline_us {
            // All zero disarms; a deadline of 0 must still fire.
            let at = deadline_us.map_or(Time::default(), |us| Time {
                seconds: us / 1_000_000,
                nanoseconds: (us % 1_000_000 * 1000) | 1,
            });
            let setting = [Time::default(), at];
            let pointer = (&raw const setting).addr() as u64;
            // SAFETY: `setting` is an itimerspec that the kernel reads.
            unsafe { system_call(TIMERFD_SETTIME, [self.timer_fd, TIMER_ABSTIME, pointer, 0, 0, 0]) };
            self.armed_us = deadline_us;
        }
        // Which of the two happened is seen by looking.
        let mut events = [0_u8; 2 * EPOLL_EVENT_BYTES];
        let pointer = (&raw mut events).addr() as u64;
        // SAFETY: the kernel writes at most two epoll_events to `events`. Without a limit, without a signal mask.
        unsafe { system_call(EPOLL_PWAIT, [self.epoll_fd, pointer, 2, u64::MAX, 0, 0]) };
    }
}

/// Numbers of system calls, and the size of the kernel's `struct epoll_event`.
#[cfg(target_arch = "x86_64")]
mod abi {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const CLOCK_GETTIME: u64 = 228;
    pub const EXIT_GROUP: u64 = 231;
    pub const EPOLL_PWAIT: u64 = 281;
    pub const TIMERFD_SETTIME: u64 = 286;
    pub const EPOLL_EVENT_BYTES: usize = 12;
}
#[cfg(target_arch = "aarch64")]
mod abi {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const CLOCK_GETTIME: u64 = 113;
    pub const EXIT_GROUP: u64 = 94;
    pub const EPOLL_PWAIT: u64 = 22;
    pub const TIMERFD_SETTIME: u64 = 86;
    pub const EPOLL_EVENT_BYTES: usize = 16;
}
use abi::{CLOCK_GETTIME, EPOLL_EVENT_BYTES, EPOLL_PWAIT, EXIT_GROUP, READ, TIMERFD_SETTIME, WRITE};

const CLOCK_REALTIME: u64 = 0;
const CLOCK_MONOTONIC: u64 = 1;
const TIMER_ABSTIME: u64 = 1;

fn clock(which: u64) -> Time {
    let mut time = Time::default();
    // SAFETY: the kernel writes a timespec to `time`.
    unsafe { system_call(CLOCK_GETTIME, [which, (&raw mut time).addr() as u64, 0, 0, 0, 0]) };
    time
}

fn print(text: &str) {
    // SAFETY: the kernel reads the text. The console is best effort.
    unsafe {
        system_call(
            WRITE,
            [1, text.as_ptr().addr() as u64, text.len() as u64, 0, 0, 0],
        )
    };
}

fn exit(status: u8) -> ! {
    // SAFETY: ends the process and returns to nobody.
    unsafe { system_call(EXIT_GROUP, [status.into(), 0, 0, 0, 0, 0]) };
    loop {
        core::hint::spin_loop();
    }
}

/// # Safety
/// The arguments must be right for the call: what it writes to must be the caller's.
unsafe fn system_call(number: u64, arguments: [u64; 6]) -> i64 {
    let result;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel changes only rax, rcx and r11, and the memory that the caller vouches for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel changes only x0, and the memory that the caller vouches for.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    result
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        print(text);
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "httpreply: {info}");
    exit(255)
}
