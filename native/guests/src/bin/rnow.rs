//! Writes to its read-only data: must fault.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    static CONSTANT: [u8; 16] = *b"0123456789abcdef";
    let constant = core::hint::black_box(CONSTANT.as_ptr().cast_mut());
    // SAFETY: none; the fault is the test.
    unsafe { constant.write_volatile(1) };
    print!("FAILURE: still here\n");
    1
}
