//! What is said and done once the filter holds: no allocation, no runtime, one write and the way out.

use std::fmt::{self, Write};

const MAX_NAME: usize = 64;
const MAX_MESSAGE: usize = 512;

/// The program's name, kept where no allocation is needed to say it.
pub struct Name {
    bytes: [u8; MAX_NAME],
    length: usize,
}

impl Name {
    pub fn new(name: &str) -> Name {
        let mut bytes = [0; MAX_NAME];
        let length = name.len().min(MAX_NAME);
        bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
        Name { bytes, length }
    }
}

/// Says `PROG: text` on stderr and ends with status 1.
pub fn fatal(program: &Name, text: fmt::Arguments) -> ! {
    let mut message = Message {
        bytes: [0; MAX_MESSAGE],
        length: 0,
    };
    message.push(&program.bytes[..program.length]);
    message.push(b": ");
    // A message that is too long is cut.
    let _ = message.write_fmt(text);
    message.length = message.length.min(MAX_MESSAGE - 1);
    message.push(b"\n");
    // SAFETY: a valid buffer that the call only reads.
    unsafe { libc::write(libc::STDERR_FILENO, message.bytes.as_ptr().cast(), message.length) };
    exit(1)
}

/// Ends the process and nothing else: the kernel takes back the machine, the descriptors and the memory.
pub fn exit(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status & 255) }
}

/// The calling thread's errno in words.
pub fn errno_text() -> &'static str {
    // SAFETY: errno is the thread's own; strerror answers with a C string that stays valid here: no other thread
    // and no other call to it.
    unsafe {
        let number = *libc::__errno_location();
        std::ffi::CStr::from_ptr(libc::strerror(number))
            .to_str()
            .unwrap_or("unknown error")
    }
}

struct Message {
    bytes: [u8; MAX_MESSAGE],
    length: usize,
}

impl Message {
    fn push(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(MAX_MESSAGE - self.length);
        self.bytes[self.length..self.length + length].copy_from_slice(&bytes[..length]);
        self.length += length;
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
