//! The end of the machine, by PSCI.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};

use httpreply::tree::Conduit;

const SYSTEM_OFF: u64 = 0x8400_0008;

static BY_SECURE_MONITOR: AtomicBool = AtomicBool::new(false);

/// Says how the firmware is called.
pub fn set_up(conduit: Conduit) {
    BY_SECURE_MONITOR.store(conduit == Conduit::SecureMonitor, Ordering::Relaxed);
}

/// Switches the machine off, which ends the monitor.
pub fn end() -> ! {
    // SAFETY: the firmware's call does not return.
    unsafe {
        if BY_SECURE_MONITOR.load(Ordering::Relaxed) {
            asm!("smc #0", in("x0") SYSTEM_OFF, options(nostack));
        } else {
            asm!("hvc #0", in("x0") SYSTEM_OFF, options(nostack));
        }
    }
    loop {
        // SAFETY: sleeps; interrupts are off.
        unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) };
    }
}
