//! Writes to its code: must fault.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    let code = main as *const () as *mut u8;
    // SAFETY: none; the fault is the test.
    unsafe { code.write_volatile(0xcc) };
    print!("FAILURE: still here\n");
    1
}
