//! The console: bytes to the tender's stdout.

use crate::abi;
use crate::cell::Single;
use core::fmt::{self, Write};

static QUIET: Single<bool> = Single::new(false);

/// Writes to the console with `format!`'s syntax; one write for up to 512 bytes.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(core::format_args!($($arg)*)) };
}

/// Writes bytes as they are, in one write.
pub fn write(bytes: &[u8]) {
    abi::puts(bytes);
}

pub fn print(text: fmt::Arguments) {
    let mut buffer = Buffer {
        bytes: [0; 512],
        length: 0,
    };
    // A buffer that writes itself out when full cannot fail.
    let _ = buffer.write_fmt(text);
    buffer.flush();
}

/// Prints what the library itself has to say, unless it was told to be quiet.
pub(crate) fn log(text: fmt::Arguments) {
    if !QUIET.get() {
        print(text);
    }
}

pub(crate) fn be_quiet() {
    QUIET.set(true);
}

struct Buffer {
    bytes: [u8; 512],
    length: usize,
}

impl Buffer {
    fn flush(&mut self) {
        if self.length > 0 {
            write(&self.bytes[..self.length]);
            self.length = 0;
        }
    }
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}
