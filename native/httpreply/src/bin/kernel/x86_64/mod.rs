//! x86-64, entered by the PVH boot protocol; the monitor names the devices on the command line.

mod console;
mod counter;
mod entry;
mod interrupts;
mod io;
mod start_info;

use core::fmt::Write;

pub use console::Console;
use httpreply::places::virtio_places;
pub use interrupts::{Interrupts, end};
pub use io::{read_byte, read_register, write_register};

/// The entry code calls this in long mode, with interrupts off and the address of the start information.
#[unsafe(no_mangle)]
extern "C" fn pvh_start(start_info: usize) -> ! {
    // SAFETY: this is the address from the PVH entry.
    let (line, has_memory) = unsafe {
        (
            start_info::command_line(start_info),
            start_info::has_memory(start_info),
        )
    };
    if !has_memory {
        crate::too_little_memory("4 MiB")
    }
    let interrupts = Interrupts::set_up();
    crate::start(crate::Found {
        protocol: "pvh",
        line,
        places: virtio_places(line),
        counter_hz: counter::frequency_hz(),
        interrupts,
    })
}

/// A processor exception: a bug of ours. `stack` is where the processor left the error code, if any, and the place.
#[unsafe(no_mangle)]
extern "C" fn pvh_fault(stack: &[u64; 4]) -> ! {
    let _ = writeln!(Console, "httpreply: processor fault, stack {stack:x?}");
    end()
}
