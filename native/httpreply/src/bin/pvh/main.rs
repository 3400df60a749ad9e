//! The unikernel as a PVH kernel with a virtio network device: for QEMU's `microvm` machine and, unchanged, for
//! Firecracker. One processor, no floating point, no allocator.
#![no_std]
#![no_main]

mod console;
mod counter;
mod entry;
mod interrupts;
mod io;
mod queue;
mod start_info;
mod virtio;

use core::fmt::Write;
use core::panic::PanicInfo;

use console::Console;
use httpreply::clock::{CounterClock, read_counter};
use httpreply::net::Storage;
use httpreply::once::Once;
use httpreply::places::virtio_places;
use httpreply::unikernel::{Link, Machine, run};
use interrupts::TIMER_HZ;
use virtio::Nic;

static STORAGE: Once<Storage> = Once::new(Storage::new());

/// The longest sleep; the timer's counter would overflow after 68 s.
const LONGEST_SLEEP_US: u64 = 60_000_000;

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
        let _ = Console.write_str("httpreply: too little memory: give the machine at least 4 MiB\n");
        interrupts::reset()
    }
    interrupts::set_up();
    let nic = virtio_places(line).find_map(|place| match Nic::at(place) {
        Ok(nic) => nic.inspect(|_| interrupts::enable_line(place.line)),
        Err(reason) => {
            let _ = writeln!(Console, "httpreply: {reason}");
            None
        }
    });
    let clock = CounterClock::new(read_counter(), counter::frequency_hz());
    let Some(storage) = STORAGE.take() else {
        interrupts::reset()
    };
    run(Guest { nic, clock }, "pvh", line, storage)
}

struct Guest {
    nic: Option<Nic>,
    clock: CounterClock,
}

impl Machine for Guest {
    fn now_us(&mut self) -> u64 {
        self.clock.us_at(read_counter())
    }

    fn entropy(&mut self) -> u64 {
        read_counter().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn print(&mut self, text: &str) {
        let _ = Console.write_str(text);
    }

    /// The machine has no way to carry a status.
    fn exit(&mut self, _: u8) -> ! {
        interrupts::reset()
    }

    fn link(&self) -> Option<Link> {
        self.nic.as_ref().map(Nic::link)
    }

    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.nic.as_mut()?.receive(frame)
    }

    fn can_send(&mut self) -> bool {
        self.nic.as_mut().is_some_and(Nic::can_send)
    }

    fn send(&mut self, frame: &[u8]) {
        if let Some(nic) = &mut self.nic {
            nic.send(frame);
        }
    }

    fn wait(&mut self, deadline_us: Option<u64>) {
        // In this order: what arrives after the line was lowered raises it again and ends the sleep.
        if let Some(nic) = &self.nic {
            nic.acknowledge();
            if nic.has_received() {
                return;
            }
        }
        let now_us = self.now_us();
        let ticks =
            deadline_us.map(|us| us.saturating_sub(now_us).min(LONGEST_SLEEP_US) * TIMER_HZ / 1_000_000);
        match ticks {
            Some(0) => return,
            Some(ticks) => interrupts::start_timer(u32::try_from(ticks + 1).unwrap_or(u32::MAX)),
            None => interrupts::start_timer(0),
        }
        interrupts::halt();
    }
}

/// A processor exception: a bug of ours. `stack` is where the processor left the error code, if any, and the place.
#[unsafe(no_mangle)]
extern "C" fn pvh_fault(stack: &[u64; 4]) -> ! {
    let _ = writeln!(Console, "httpreply: processor fault, stack {stack:x?}");
    interrupts::reset()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "httpreply: {info}");
    interrupts::reset()
}
