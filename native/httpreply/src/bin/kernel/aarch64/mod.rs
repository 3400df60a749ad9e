//! arm64, entered by Linux's boot protocol; a device tree describes the machine.

mod console;
mod entry;
mod interrupts;
mod power;
mod registers;

use core::arch::asm;
use core::fmt::Write;
use core::ptr::with_exposed_provenance;
use core::slice;

pub use console::Console;
use httpreply::once::Once;
use httpreply::tree::{Board, MOST_BYTES, total_bytes};
pub use interrupts::Interrupts;
pub use power::end;
pub use registers::{read_byte, read_register, write_register};

/// Kept where it outlives the stack's frames: its iterator goes with the devices.
static BOARD: Once<Board<'static>> = Once::new(Board::new());

/// The entry code calls this with the image moved, memory mapped, interrupts off and the address of the device tree.
#[unsafe(no_mangle)]
extern "C" fn image_start(tree: usize) -> ! {
    // SAFETY: this is the address from the boot protocol.
    let blob = unsafe { device_tree(tree) };
    let Some(board) = BOARD.take() else { end() };
    board.read(blob);
    let board: &'static Board<'static> = board;
    power::set_up(board.conduit);
    console::set_up(board.console);
    let (start, image_end) = entry::image();
    if !board.has_memory(start as u64, image_end as u64) {
        crate::too_little_memory("8 MiB")
    }
    crate::start(crate::Found {
        protocol: "image",
        line: board.boot_line,
        places: board.virtio(),
        counter_hz: counter_hz(),
        interrupts: Interrupts::set_up(board.controller),
    })
}

/// The tree's bytes; empty if there is none.
///
/// # Safety
/// `at` must be what the monitor gave at the entry, with its memory untouched.
unsafe fn device_tree(at: usize) -> &'static [u8] {
    if at == 0 || !at.is_multiple_of(8) {
        return &[];
    }
    let first = with_exposed_provenance::<u8>(at);
    // SAFETY: the caller's promise; a tree has a header, and its length is in it.
    unsafe {
        match total_bytes(&*first.cast()).filter(|&bytes| bytes <= MOST_BYTES) {
            Some(bytes) => slice::from_raw_parts(first, bytes),
            None => &[],
        }
    }
}

fn counter_hz() -> u64 {
    let hz;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) hz, options(nomem, nostack, preserves_flags)) };
    hz
}

/// A processor exception: a bug of ours.
#[unsafe(no_mangle)]
extern "C" fn image_fault(syndrome: u64, place: u64, address: u64) -> ! {
    let _ = writeln!(
        Console,
        "httpreply: processor fault {syndrome:#x} at {place:#x}, address {address:#x}"
    );
    end()
}
