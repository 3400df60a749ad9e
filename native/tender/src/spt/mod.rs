//! ABI `spt` 2: the guest runs in the tender's own address space, at its linked addresses, behind a filter that leaves
//! it the console, the clocks, its devices and the way out. Nothing of the tender runs once the guest has begun.

mod enter;
mod filter;
mod wait;

use crate::boot::{self, COMMAND_LINE_SIZE, Launch};
use crate::failure::{Failure, Result};
use crate::memory::{GuestMemory, IMAGE_BASE};
use std::convert::Infallible;

/// First mapped byte: Linux' vm.mmap_min_addr.
const MEMORY_START: u64 = 0x1_0000;
const BOOT_INFO: u64 = 0x1_1000;
const BOOT_INFO_SIZE: u64 = 40;

/// Loads the guest and becomes it. Returns only where that fails.
pub fn run(launch: &Launch) -> Result<Infallible> {
    let mut memory = map(launch)?;
    boot::load(launch.name, launch.file, launch.placement, &mut memory)?;
    for segment in &launch.placement.segments {
        let flag = |wanted: bool, flag: i32| if wanted { flag } else { 0 };
        let protection = flag(segment.readable, libc::PROT_READ)
            | flag(segment.writable, libc::PROT_WRITE)
            | flag(segment.executable, libc::PROT_EXEC);
        memory.protect(segment.start..segment.end, protection)?;
    }
    let wait = wait::set_up(launch.devices)?;
    write_boot_info(launch, &mut memory, &wait)?;
    let filter = filter::program(launch.devices, &wait)?;
    launch.say_ready()?;
    filter::install(&filter)?;
    // SAFETY: the entry point lies in guest memory, where the image is loaded and the stack is mapped; the filter and
    // the page protections hold whatever the guest does from here. Nothing of ours runs any more.
    unsafe { enter::enter(launch.placement.entry, launch.memory_size, BOOT_INFO) }
}

fn map(launch: &Launch) -> Result<GuestMemory> {
    let exceeded = |error: &std::io::Error| match error.raw_os_error() {
        Some(libc::EEXIST) => Failure::new(format!(
            "Maximum guest memory size ({} MB) exceeded.",
            (limit() >> 20).saturating_sub(1)
        )),
        _ => Failure::system(
            format!("Could not map {} MB of guest memory", launch.memory_size >> 20),
            error,
        ),
    };
    if launch.memory_size <= IMAGE_BASE || launch.memory_size > limit() {
        return Err(exceeded(&std::io::Error::from_raw_os_error(libc::EEXIST)));
    }
    GuestMemory::in_place(MEMORY_START, launch.memory_size, launch.executable_heap)
        .map_err(|error| exceeded(&error))
}

/// Where the guest's memory must end: below the tender's image and its heap, whichever is lower.
fn limit() -> u64 {
    // SAFETY: both only ask. The program headers lie in the image's first page, and 0 leaves the heap as it is.
    let (image, heap) = unsafe {
        (
            libc::getauxval(libc::AT_PHDR) as u64,
            libc::syscall(libc::SYS_brk, 0) as u64,
        )
    };
    image.min(heap) & !0xfff
}

fn write_boot_info(launch: &Launch, memory: &mut GuestMemory, wait: &wait::Wait) -> Result<()> {
    let manifest = launch.manifest.encode(launch.devices, true);
    let manifest_at = BOOT_INFO + BOOT_INFO_SIZE;
    let command_line_at = manifest_at + manifest.len() as u64;
    debug_assert!(command_line_at + (COMMAND_LINE_SIZE as u64) < IMAGE_BASE);
    let mut info = Vec::with_capacity(BOOT_INFO_SIZE as usize);
    for value in [
        launch.memory_size,
        launch.placement.kernel_end,
        command_line_at,
        manifest_at,
    ] {
        info.extend_from_slice(&value.to_ne_bytes());
    }
    for fd in [wait.epoll, wait.timer] {
        info.extend_from_slice(&fd.to_ne_bytes());
    }
    let written = memory.write(BOOT_INFO, &info)
        && memory.write(manifest_at, &manifest)
        && memory.write(command_line_at, launch.command_line);
    if written {
        Ok(())
    } else {
        Err(Failure::new("Guest memory is too small for the boot information"))
    }
}
