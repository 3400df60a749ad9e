//! Interrupts, for one purpose: to end a sleep. Whatever comes, comes while the processor halts, and the program looks
//! at its clock and rings afterwards.

use core::arch::asm;

use httpreply::once::Once;

use super::io::{read_register, write_port, write_register};

const LAPIC: usize = 0xfee0_0000;
const TASK_PRIORITY: usize = LAPIC + 0x80;
const SPURIOUS: usize = LAPIC + 0xf0;
const LVT_TIMER: usize = LAPIC + 0x320;
const LVT_LINT0: usize = LAPIC + 0x350;
const LVT_LINT1: usize = LAPIC + 0x360;
const TIMER_START: usize = LAPIC + 0x380;
const TIMER_COUNT: usize = LAPIC + 0x390;
const TIMER_DIVIDE: usize = LAPIC + 0x3e0;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_16: u32 = 3;

const IOAPIC_SELECT: usize = 0xfec0_0000;
const IOAPIC_WINDOW: usize = 0xfec0_0010;

const TIMER_VECTOR: u8 = 0x40;
const SPURIOUS_VECTOR: u8 = 0xff;
const FIRST_DEVICE_VECTOR: u8 = 0x50;
/// Processor exceptions lie below.
const FIRST_INTERRUPT: usize = 32;

/// QEMU's and KVM's local APICs both count nanoseconds.
pub const TIMER_HZ: u64 = 1_000_000_000 / 16;

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    low: u16,
    segment: u16,
    kind: u16,
    middle: u16,
    high: u32,
    reserved: u32,
}

static GATES: Once<[Gate; 256]> = Once::new(
    [Gate {
        low: 0,
        segment: 0,
        kind: 0,
        middle: 0,
        high: 0,
        reserved: 0,
    }; 256],
);

unsafe extern "C" {
    fn halt_once();
    fn interrupt();
    fn fault();
}

impl Gate {
    /// An interrupt gate: interrupts are off behind it.
    fn to(handler: unsafe extern "C" fn()) -> Self {
        let address = handler as usize as u64;
        Self {
            low: address as u16,
            segment: 8,
            kind: 0x8e00,
            middle: (address >> 16) as u16,
            high: (address >> 32) as u32,
            reserved: 0,
        }
    }
}

/// The table of interrupts and the two APICs, set up.
pub struct Interrupts(());

impl Interrupts {
    /// Loads the interrupt table, silences the old controller and switches the local APIC on. Interrupts stay off.
    pub fn set_up() -> Self {
        let Some(gates) = GATES.take() else { end() };
        for (vector, gate) in gates.iter_mut().enumerate() {
            *gate = Gate::to(if vector < FIRST_INTERRUPT {
                fault
            } else {
                interrupt
            });
        }
        load_table(size_of_val(gates) as u16 - 1, gates.as_ptr().addr() as u64);
        // SAFETY: the masks of the two 8259s, then registers of the local APIC, which only this program uses.
        unsafe {
            write_port(0x21, 0xff);
            write_port(0xa1, 0xff);
            write_register(LVT_LINT0, MASKED);
            write_register(LVT_LINT1, MASKED);
            write_register(TASK_PRIORITY, 0);
            write_register(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
            write_register(TIMER_DIVIDE, DIVIDE_BY_16);
            write_register(LVT_TIMER, TIMER_VECTOR.into());
        }
        Self(())
    }

    /// Lets a device's line reach the processor, edge-triggered. Lines above the I/O APIC's 24 are ignored.
    pub fn enable_line(&self, line: u32) {
        if line >= 24 {
            return;
        }
        let entry = 0x10 + 2 * line;
        let vector = u32::from(FIRST_DEVICE_VECTOR) + line;
        // SAFETY: the line's entry in the I/O APIC, which only this program uses.
        unsafe {
            write_register(IOAPIC_SELECT, entry + 1);
            write_register(IOAPIC_WINDOW, 0);
            write_register(IOAPIC_SELECT, entry);
            write_register(IOAPIC_WINDOW, vector);
        }
    }

    /// Sleeps until the next interrupt, or for so long; one that is already pending counts.
    pub fn sleep(&self, limit_us: Option<u64>) {
        let ticks = limit_us.map_or(0, |us| us * TIMER_HZ / 1_000_000 + 1);
        start_timer(u32::try_from(ticks).unwrap_or(u32::MAX));
        // SAFETY: the table is loaded and every gate of an interrupt leads back here with the stack as it was.
        unsafe { halt_once() };
    }
}

/// Starts the timer, which interrupts once after `ticks` of [`TIMER_HZ`]; 0 stops it.
pub fn start_timer(ticks: u32) {
    // SAFETY: the local APIC's timer is this program's.
    unsafe { write_register(TIMER_START, ticks) };
}

/// The ticks that the timer has left.
pub fn timer_count() -> u32 {
    // SAFETY: reading the count changes nothing.
    unsafe { read_register(TIMER_COUNT) }
}

/// Ends the machine by a reset: by the keyboard controller, which ends Firecracker, and where there is none by a fault that nothing
/// can handle, which ends a QEMU that was told not to reboot.
pub fn end() -> ! {
    // SAFETY: the controller's reset line.
    unsafe { write_port(0x64, 0xfe) };
    load_table(0, 0);
    loop {
        // SAFETY: never returns: nothing is mapped there, and there is no handler. (A software KVM that interprets the guest
        // knows page faults, but not every instruction that traps.)
        unsafe { asm!("mov qword ptr [{}], 0", in(reg) 1_u64 << 40, options(nostack)) };
    }
}

fn load_table(limit: u16, base: u64) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer { limit, base };
    // SAFETY: the table at `base` is static; an empty one is wanted only to reset.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags)) };
}
