//! Reads thread-local memory with a thread pointer of 0: must fault.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    // SAFETY: none; the fault is the test.
    let value = unsafe {
        solo5_guest::tls::set_thread_pointer(0);
        solo5_guest::tls::load(0x28)
    };
    print!("read {value:#x}\n");
    print!("FAILURE: still here\n");
    1
}
