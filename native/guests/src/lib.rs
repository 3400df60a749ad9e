//! What the test guests stand on: Solo5's guest interface over either ABI, with nothing beneath it.
//!
//! Not Solo5's own bindings: the published contract (ABI `hvt` 2, `spt` 2) and only so much of it as the tests need.
//! A guest says `solo5_guest::app!(main, Net "service0");` and has `fn main(start: &Start) -> i32`.

#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod block;
mod cell;
pub mod console;
#[cfg(feature = "hvt")]
pub mod hvt;
pub mod icmp;
pub mod manifest;
pub mod net;
pub mod notes;
#[cfg(feature = "spt")]
pub mod spt;
mod start;
pub mod tls;

#[cfg(feature = "hvt")]
pub use hvt as abi;
#[cfg(feature = "spt")]
pub use spt as abi;
pub use start::{Start, begin, exit};

/// What a device operation can answer besides success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    Again,
    Invalid,
    Unspecified,
}

/// Nanoseconds of a clock that only moves forward.
pub fn clock_monotonic() -> u64 {
    abi::clock_monotonic()
}

/// Nanoseconds since the epoch.
pub fn clock_wall() -> u64 {
    abi::clock_wall()
}

/// Sleeps until the monotonic clock reaches `deadline` or a network device has a frame. The set of handles that have.
pub fn yield_until(deadline: u64) -> u64 {
    abi::yield_until(deadline)
}

/// Defines entry point, notes and manifest of a guest: its main function, then the devices that it declares.
#[macro_export]
macro_rules! app {
    ($main:path $(, $kind:ident $name:literal)* $(,)?) => {
        #[used]
        #[unsafe(link_section = ".interp")]
        static INTERPRETER: $crate::notes::Interpreter = $crate::notes::INTERPRETER;
        #[used]
        #[unsafe(link_section = ".note.solo5.abi")]
        static ABI: $crate::notes::AbiNote = $crate::notes::ABI;
        const DEVICES: &[$crate::notes::Declared] = &[$(($crate::notes::Kind::$kind, $name)),*];
        #[used]
        #[unsafe(link_section = ".note.solo5.manifest")]
        static MANIFEST: $crate::notes::ManifestNote<{ DEVICES.len() + 1 }> = $crate::notes::manifest(DEVICES);

        /// # Safety
        /// Called by the tender only, once, with its boot information.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start(info: *const $crate::abi::BootInfo) -> ! {
            // SAFETY: what the tender promises.
            let start = unsafe { $crate::begin(info) };
            let status: i32 = $main(start);
            $crate::exit(status)
        }
    };
}
