//! Writes to the page at address 0: must fault.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    // Assembly, since a write near the null pointer is nothing Rust would compile as written.
    // SAFETY: none; the fault is the test.
    unsafe { core::arch::asm!("mov qword ptr [{}], 1", in(reg) 8_u64) };
    print!("FAILURE: still here\n");
    1
}
