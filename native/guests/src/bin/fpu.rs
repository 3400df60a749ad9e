//! Floating point: an SSE multiplication, with operands on an aligned stack.
#![no_std]
#![no_main]

use core::arch::asm;
use solo5_guest::{Start, print};

solo5_guest::app!(main);

#[repr(C, align(16))]
struct Vector([u32; 4]);

fn main(_: &Start) -> i32 {
    let mut vector = Vector([1.0, 1.5, -2.0, 0.5_f32].map(f32::to_bits));
    // SAFETY: loads and stores one aligned vector; nothing else here uses the register.
    unsafe {
        asm!("movaps xmm0, [{0}]", "mulps xmm0, xmm0", "movaps [{0}], xmm0", in(reg) vector.0.as_mut_ptr())
    };
    if vector.0 != [1.0, 2.25, 4.0, 0.25_f32].map(f32::to_bits) {
        return 1;
    }
    print!("SUCCESS\n");
    0
}
