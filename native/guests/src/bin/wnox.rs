//! Runs data: must fault where pages can be kept from being run.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    static mut RETURN: [u8; 16] = [0xc3; 16];
    // SAFETY: none; the fault is the test. Where it runs, it is one return instruction.
    unsafe { core::arch::asm!("call {}", in(reg) &raw mut RETURN, clobber_abi("C")) };
    print!("FAILURE: still here\n");
    1
}
