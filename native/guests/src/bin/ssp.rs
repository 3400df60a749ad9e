//! A buffer is overrun into the canary behind it: the guest tells, with the NUL that Solo5's text has, and aborts.
#![no_std]
#![no_main]

use solo5_guest::{Start, console, exit};

solo5_guest::app!(main);

const CANARY: u64 = 0x00ff_0a0d_dead_beef;

#[repr(C)]
struct Guarded {
    buffer: [u8; 16],
    canary: u64,
}

#[inline(never)]
fn fill(length: usize) {
    let mut guarded = Guarded {
        buffer: [0; 16],
        canary: CANARY,
    };
    let start = (&raw mut guarded).cast::<u8>();
    for index in 0..length {
        // SAFETY: stays inside `guarded`, though not inside `buffer`.
        unsafe { start.add(index).write_volatile(b'x') };
    }
    // SAFETY: reads the field as it is now.
    if unsafe { (&raw const guarded.canary).read_volatile() } != CANARY {
        console::write(b"Solo5: ABORT: Stack corruption detected\0\n");
        exit(255);
    }
}

fn main(_: &Start) -> i32 {
    fill(16);
    fill(20);
    1
}
