//! The unikernel for Solo5's `hvt`: a virtual machine of one processor and no devices, which reaches the host by
//! hypercalls: on I/O ports, on arm64 at an address where no memory is.
#![no_std]
#![no_main]

use core::arch::asm;
use core::ffi::c_char;
use core::fmt::Write;
use core::panic::PanicInfo;

use httpreply::clock::{CounterClock, read_counter};
use httpreply::net::Storage;
use httpreply::once::Once;
use httpreply::solo5::{self, HANDLE, Manifest};
use httpreply::unikernel::{Link, Machine, run};

httpreply::solo5_notes!(1);

static STORAGE: Once<Storage> = Once::new(Storage::new());

/// The longest sleep asked of the tender; the loop only looks and goes on.
const LONGEST_SLEEP_US: u64 = 3_600_000_000;

/// What the tender leaves at entry (`hvt_abi.h`), as far as it is used here.
#[repr(C)]
struct BootInfo {
    memory_bytes: u64,
    kernel_end: u64,
    counter_hz: u64,
    boot_line: *const c_char,
    manifest: *const Manifest,
}

/// The tender enters here with a stack as a called function has it.
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
        clock: CounterClock::new(read_counter(), info.counter_hz),
    };
    run(guest, "hvt", line, storage)
}

struct Guest {
    link: Option<Link>,
    clock: CounterClock,
}

#[repr(C)]
struct Walltime {
    nanoseconds: u64,
}

#[repr(C)]
struct Puts {
    data: u64,
    length: u64,
}

#[repr(C)]
struct Poll {
    timeout_ns: u64,
    ready_set: u64,
    result: i32,
}

#[repr(C)]
struct Net {
    handle: u64,
    data: u64,
    length: u64,
    result: i32,
}

#[repr(C)]
struct Halt {
    cookie: u64,
    status: i32,
}

const WALLTIME: u64 = 1;
const PUTS: u64 = 2;
const POLL: u64 = 3;
const NET_WRITE: u64 = 6;
const NET_READ: u64 = 7;
const HALT: u64 = 8;

impl Machine for Guest {
    fn now_us(&mut self) -> u64 {
        self.clock.us_at(read_counter())
    }

    fn entropy(&mut self) -> u64 {
        let mut wall = Walltime { nanoseconds: 0 };
        // SAFETY: the tender writes the time to `wall`.
        unsafe { hypercall(WALLTIME, &mut wall) };
        wall.nanoseconds ^ read_counter().rotate_left(32)
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
        let (data, length) = (frame.as_mut_ptr().addr() as u64, frame.len() as u64);
        let mut call = Net {
            handle: HANDLE as u64,
            data,
            length,
            result: 0,
        };
        // SAFETY: the tender writes at most `length` bytes to `frame`.
        unsafe { hypercall(NET_READ, &mut call) };
        usize::try_from(call.length)
            .ok()
            .filter(|&length| call.result == 0 && length <= frame.len())
    }

    fn can_send(&mut self) -> bool {
        true
    }

    fn send(&mut self, frame: &[u8]) {
        let (data, length) = (frame.as_ptr().addr() as u64, frame.len() as u64);
        let mut call = Net {
            handle: HANDLE as u64,
            data,
            length,
            result: 0,
        };
        // SAFETY: the tender reads `length` bytes of `frame`.
        unsafe { hypercall(NET_WRITE, &mut call) };
    }

    fn wait(&mut self, deadline_us: Option<u64>) {
        let now_us = self.now_us();
        let left_us = deadline_us.map_or(LONGEST_SLEEP_US, |us| {
            us.saturating_sub(now_us).min(LONGEST_SLEEP_US)
        });
        let mut call = Poll {
            timeout_ns: left_us * 1000,
            ready_set: 0,
            result: 0,
        };
        // SAFETY: the tender reads and writes `call` alone.
        unsafe { hypercall(POLL, &mut call) };
    }
}

fn print(text: &str) {
    let mut call = Puts {
        data: text.as_ptr().addr() as u64,
        length: text.len() as u64,
    };
    // SAFETY: the tender reads the text.
    unsafe { hypercall(PUTS, &mut call) };
}

fn exit(status: u8) -> ! {
    let mut call = Halt {
        cookie: 0,
        status: status.into(),
    };
    // SAFETY: ends the guest.
    unsafe { hypercall(HALT, &mut call) };
    loop {
        core::hint::spin_loop();
    }
}

/// Calls the tender, which gets the address of `call` and may read and write it.
///
/// # Safety
/// `call` must be the structure of the hypercall with this number, and the buffers that it names must be the caller's.
unsafe fn hypercall<T>(number: u64, call: &mut T) {
    // All memory lies below 4 GiB, and addresses are physical ones.
    let address = (&raw mut *call).addr() as u32;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the tender touches only what the caller vouches for.
    unsafe {
        asm!("out dx, eax", in("dx") 0x500 + number as u16, in("eax") address, options(nostack, preserves_flags))
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the tender touches only what the caller vouches for.
    unsafe {
        asm!("str {0:w}, [{1}]", in(reg) address, in(reg) (1_u64 << 32) + 8 * number, options(nostack, preserves_flags))
    };
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
