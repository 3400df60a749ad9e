//! The unikernel as a kernel of its own with a virtio network device. On x86-64 a PVH kernel, for QEMU's `microvm` machine
//! and, unchanged, for Firecracker; on arm64 an `Image` of the Linux boot protocol, for QEMU's `virt` machine. One
//! processor, no floating point, no allocator.
//!
//! What differs by architecture lies in `machine`: how it is entered, what tells it of its devices, its console, counter,
//! interrupts and end.
#![no_std]
#![no_main]

#[cfg_attr(target_arch = "x86_64", path = "x86_64/mod.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64/mod.rs")]
mod machine;
mod queue;
mod virtio;

use core::fmt::Write;
use core::panic::PanicInfo;

use httpreply::clock::{CounterClock, read_counter};
use httpreply::net::Storage;
use httpreply::once::Once;
use httpreply::places::Place;
use httpreply::unikernel::{Link, Machine, run};
use machine::{Console, Interrupts};
use virtio::Nic;

static STORAGE: Once<Storage> = Once::new(Storage::new());

/// The longest sleep; one of the timers would overflow after 68 s.
const LONGEST_SLEEP_US: u64 = 60_000_000;

/// What the entry code found.
struct Found<P: Iterator<Item = Place>> {
    /// The boot protocol, which stands for the monitor's name where the boot line gives none.
    protocol: &'static str,
    line: &'static [u8],
    /// Where virtio devices may be.
    places: P,
    counter_hz: u64,
    interrupts: Interrupts,
}

/// The machine's entry code ends here, with interrupts off and all memory mapped.
fn start(found: Found<impl Iterator<Item = Place>>) -> ! {
    let Found {
        mut places,
        interrupts,
        ..
    } = found;
    let nic = places.find_map(|place| match Nic::at(place) {
        Ok(nic) => nic.inspect(|_| interrupts.enable_line(place.line)),
        Err(reason) => {
            let _ = writeln!(Console, "httpreply: {reason}");
            None
        }
    });
    let clock = CounterClock::new(read_counter(), found.counter_hz);
    let Some(storage) = STORAGE.take() else {
        machine::end()
    };
    let guest = Guest {
        nic,
        clock,
        interrupts,
    };
    run(guest, found.protocol, found.line, storage)
}

/// For want of memory.
fn too_little_memory(least: &str) -> ! {
    let _ = writeln!(
        Console,
        "httpreply: too little memory: give the machine at least {least}"
    );
    machine::end()
}

struct Guest {
    nic: Option<Nic>,
    clock: CounterClock,
    interrupts: Interrupts,
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
        machine::end()
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
        let left_us = deadline_us.map(|us| us.saturating_sub(now_us).min(LONGEST_SLEEP_US));
        if left_us != Some(0) {
            self.interrupts.sleep(left_us);
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "httpreply: {info}");
    machine::end()
}
