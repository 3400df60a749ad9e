//! Interrupts, for one purpose: to end a sleep. They stay off at the processor, which wakes from `wfi` all the same when its
//! interrupt controller has one for it; the program then takes it from the controller and looks at its clock and rings.

use core::arch::asm;
use core::fmt::Write;

use httpreply::clock::read_counter;
use httpreply::tree::Controller;

use super::registers::{read_register, write_register};
use super::{Console, counter_hz, end};

/// The virtual timer's interrupt: the architecture's own recommendation, which all machines follow.
const TIMER: u32 = 27;
/// Numbers from here on say that there is none.
const NONE: u32 = 1020;

// The distributor, both versions.
const CONTROL: usize = 0x000;
const GROUP: usize = 0x080;
const ENABLE: usize = 0x100;
const PRIORITY: usize = 0x400;
const TARGET: usize = 0x800;
/// Version 3.
const ROUTE: usize = 0x6000;
const IS_WRITING: u32 = 1 << 31;

// The processor's interface, version 2.
const PRIORITY_MASK: usize = 0x04;
const ACKNOWLEDGE: usize = 0x0c;
const END: usize = 0x10;

// The redistributor, version 3.
const WAKER: usize = 0x14;
const IS_ASLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;
const OWN_INTERRUPTS: usize = 0x1_0000;

/// A register that never changes is not there.
const PATIENCE: u32 = 1_000_000;

/// The interrupt controller, set up for the timer.
pub struct Interrupts {
    controller: Controller,
    counter_hz: u64,
}

impl Interrupts {
    /// Switches the controller on. Interrupts stay off at the processor.
    pub fn set_up(controller: Option<Controller>) -> Self {
        let Some(controller) = controller else {
            let _ = Console
                .write_str("httpreply: the device tree names no interrupt controller of version 2 or 3\n");
            end()
        };
        // SAFETY: registers of the controller that the device tree names, which only this program uses.
        unsafe {
            match controller {
                Controller::V2 {
                    distributor,
                    processor,
                } => {
                    write_register(distributor + CONTROL, 3);
                    write_register(distributor + PRIORITY + (TIMER as usize & !3), 0);
                    write_register(distributor + ENABLE, 1 << TIMER);
                    write_register(processor + PRIORITY_MASK, 0xff);
                    write_register(processor + CONTROL, 3);
                }
                Controller::V3 {
                    distributor,
                    redistributor,
                } => {
                    write_register(distributor + CONTROL, 0x13);
                    wait_for(distributor + CONTROL, IS_WRITING);
                    let awake = read_register(redistributor + WAKER) & !IS_ASLEEP;
                    write_register(redistributor + WAKER, awake);
                    wait_for(redistributor + WAKER, CHILDREN_ASLEEP);
                    let own = redistributor + OWN_INTERRUPTS;
                    write_register(own + GROUP, u32::MAX);
                    write_register(own + PRIORITY + (TIMER as usize & !3), 0);
                    write_register(own + ENABLE, 1 << TIMER);
                    asm!(
                        "mrs {0}, s3_0_c12_c12_5", // ICC_SRE_EL1: by system registers
                        "orr {0}, {0}, #1",
                        "msr s3_0_c12_c12_5, {0}",
                        "isb",
                        "msr s3_0_c4_c6_0, {1}", // ICC_PMR_EL1: every priority
                        "msr s3_0_c12_c12_7, {2}", // ICC_IGRPEN1_EL1: on
                        "isb",
                        out(reg) _, in(reg) 0xff_u64, in(reg) 1_u64,
                        options(nostack, preserves_flags),
                    );
                }
            }
        }
        Self {
            controller,
            counter_hz: counter_hz(),
        }
    }

    /// Lets a device's line reach the processor.
    pub fn enable_line(&self, line: u32) {
        if !(32..NONE).contains(&line) {
            return;
        }
        let (word, bit) = (line as usize / 32 * 4, 1 << (line % 32));
        let bytes = line as usize & !3;
        // SAFETY: as in `set_up`. What else is in the words written is of lines that are not enabled.
        unsafe {
            match self.controller {
                Controller::V2 { distributor, .. } => {
                    write_register(distributor + PRIORITY + bytes, 0);
                    write_register(distributor + TARGET + bytes, 0x0101_0101);
                    write_register(distributor + ENABLE + word, bit);
                }
                Controller::V3 { distributor, .. } => {
                    write_register(distributor + GROUP + word, u32::MAX);
                    write_register(distributor + PRIORITY + bytes, 0);
                    let processor = affinity();
                    write_register(
                        distributor + ROUTE + 8 * line as usize,
                        processor as u32 & 0xff_ffff,
                    );
                    write_register(
                        distributor + ROUTE + 8 * line as usize + 4,
                        (processor >> 32) as u32,
                    );
                    write_register(distributor + ENABLE + word, bit);
                }
            }
        }
    }

    /// Sleeps until the next interrupt, or for so long; one that is already pending counts.
    pub fn sleep(&self, limit_us: Option<u64>) {
        let counts = limit_us.map(|us| us.saturating_mul(self.counter_hz) / 1_000_000 + 1);
        let deadline = counts.map_or(u64::MAX, |counts| read_counter().saturating_add(counts));
        // SAFETY: the timer is this program's; what is pending, or comes, ends the sleep and is taken from the controller.
        unsafe {
            asm!(
                "msr cntv_cval_el0, {0}",
                "msr cntv_ctl_el0, {1}",
                "isb",
                "dsb sy",
                "wfi",
                in(reg) deadline, in(reg) u64::from(counts.is_some()),
                options(nostack, preserves_flags),
            );
            self.take();
        }
    }

    /// Takes an interrupt from the controller. If there are more, the next sleep is a short one.
    ///
    /// # Safety
    /// The controller must be set up.
    unsafe fn take(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.controller {
                Controller::V2 { processor, .. } => {
                    let taken = read_register(processor + ACKNOWLEDGE);
                    if taken & 0x3ff < NONE {
                        write_register(processor + END, taken);
                    }
                }
                Controller::V3 { .. } => {
                    let taken: u64;
                    asm!("mrs {}, s3_0_c12_c12_0", "dsb sy", out(reg) taken, options(nostack, preserves_flags));
                    if taken < NONE.into() {
                        asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) taken, options(nostack, preserves_flags));
                    }
                }
            }
        }
    }
}

/// Waits until bits of a register are clear.
///
/// # Safety
/// Reading the register must change nothing.
unsafe fn wait_for(address: usize, bits: u32) {
    let mut left = PATIENCE;
    // SAFETY: the caller's promise.
    while unsafe { read_register(address) } & bits != 0 && left > 0 {
        left -= 1;
    }
}

/// The processor's own address among processors, as routes have it.
fn affinity() -> u64 {
    let register: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) register, options(nomem, nostack, preserves_flags)) };
    register & 0xff_00ff_ffff
}
