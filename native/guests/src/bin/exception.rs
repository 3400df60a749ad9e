//! Writes far outside its memory: must fault.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    // SAFETY: none; the fault is the test.
    unsafe { (0x4_0000_0000 as *mut u64).write_volatile(1) };
    print!("FAILURE: still here\n");
    1
}
