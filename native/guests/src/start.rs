//! From the tender's boot information to the guest's main function, and out again.

use crate::abi::{self, BootInfo};
use crate::cell::Single;
use crate::console;
use core::panic::PanicInfo;

/// What a guest is started with.
pub struct Start {
    /// Without the leading tokens that speak to the library (`--solo5:quiet`).
    pub command_line: &'static str,
    pub heap_start: u64,
    /// Bytes; the stack is at the end of it.
    pub heap_size: u64,
}

static INFO: Single<*const BootInfo> = Single::new(core::ptr::null());
static START: Single<Start> = Single::new(Start {
    command_line: "",
    heap_start: 0,
    heap_size: 0,
});

unsafe extern "C" {
    static _end: u8;
}

/// The tender's boot information; only after [`begin`].
pub fn boot_info() -> &'static BootInfo {
    // SAFETY: set by `begin` before anything else runs, and valid for good.
    unsafe { &*INFO.get() }
}

/// # Safety
/// `info` is the tender's; called once.
pub unsafe fn begin(info: *const BootInfo) -> &'static Start {
    INFO.set(info);
    abi::set_up();
    let info = boot_info();
    let command_line = strip_log_level(command_line(info));
    let heap_start = &raw const _end as u64;
    // The least that Solo5 asks for.
    if heap_start + 0x8_0000 > info.memory_size {
        panic!("Not enough memory");
    }
    console::log(format_args!(
        "Solo5: Memory map: {} MB addressable\n",
        info.memory_size >> 20
    ));
    // SAFETY: one thread, and no reference exists before this one.
    unsafe {
        *START.pointer() = Start {
            command_line,
            heap_start,
            heap_size: info.memory_size - heap_start,
        };
        &*START.pointer()
    }
}

/// Ends the guest.
pub fn exit(status: i32) -> ! {
    console::log(format_args!("Solo5: solo5_exit({status}) called\n"));
    abi::halt(status, 0)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    match info.location() {
        Some(place) => {
            crate::print!(
                "Solo5: ABORT: {}:{}: {}\n",
                place.file(),
                place.line(),
                info.message()
            );
        }
        None => crate::print!("Solo5: ABORT: {}\n", info.message()),
    }
    abi::halt(255, 0)
}

fn command_line(info: &BootInfo) -> &'static str {
    // SAFETY: a C string of the tender's, valid for good.
    let line = unsafe { core::ffi::CStr::from_ptr(info.command_line as *const core::ffi::c_char) };
    line.to_str().unwrap_or("")
}

fn strip_log_level(mut line: &'static str) -> &'static str {
    loop {
        line = line.trim_start_matches(' ');
        let Some(rest) = line.strip_prefix("--solo5:") else {
            return line;
        };
        let (level, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if level == "quiet" || level == "error" || level == "warn" {
            console::be_quiet();
        }
        line = after;
    }
}
