//! The console: a 16550 at the usual place, which QEMU's microvm and Firecracker both have.

use core::fmt::{self, Write};

use super::io::{read_port, write_port};

const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = 0x3fd;
const CAN_TAKE: u8 = 0x20;
/// A port that never becomes ready is not there.
const PATIENCE: u32 = 100_000;

pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the ports are the serial line's or nobody's.
            unsafe {
                let mut left = PATIENCE;
                while read_port(LINE_STATUS) & CAN_TAKE == 0 && left > 0 {
                    left -= 1;
                }
                write_port(DATA, byte);
            }
        }
        Ok(())
    }
}
