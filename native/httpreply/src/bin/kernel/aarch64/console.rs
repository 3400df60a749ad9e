//! The console: a PL011, as QEMU's virt machine and Cloud Hypervisor have it.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::registers::{read_register, write_register};

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const IS_FULL: u32 = 1 << 5;
/// A port that never becomes ready is not there.
const PATIENCE: u32 = 100_000;

/// Where it is; 0 before it is known.
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Names its registers, if there is one.
pub fn set_up(base: Option<usize>) {
    BASE.store(base.unwrap_or(0), Ordering::Relaxed);
}

pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let base = BASE.load(Ordering::Relaxed);
        if base == 0 {
            return Ok(());
        }
        for byte in text.bytes() {
            // SAFETY: the registers of the port that the device tree names.
            unsafe {
                let mut left = PATIENCE;
                while read_register(base + FLAGS) & IS_FULL != 0 && left > 0 {
                    left -= 1;
                }
                write_register(base + DATA, byte.into());
            }
        }
        Ok(())
    }
}
