//! The console: the descriptors that the kernel gave, or else `/dev/console`.

use alloc::format;
use core::fmt;

/// Writes a line for people. A console that takes nothing is no reason to stop.
pub fn say(text: fmt::Arguments<'_>) {
    let line = format!("tripod-init: {text}\n");
    // SAFETY: the line is as long as it is.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// Sees to it that descriptors 0, 1 and 2 are open: the kernel leaves them closed where the root file system has no
/// `/dev/console`. A machine without a console gets `/dev/null`.
pub fn open() {
    for path in [c"/dev/console", c"/dev/null"] {
        // SAFETY: system calls on a constant path and on numbers.
        unsafe {
            while libc::fcntl(2, libc::F_GETFD) < 0 {
                // Takes the lowest number that is free, and leaves it open.
                if libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NOCTTY) < 0 {
                    break;
                }
            }
        }
    }
}
