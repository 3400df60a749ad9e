//! Initialised data arrives and can be written; what has no bytes in the file begins as zeros.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use solo5_guest::{Start, print};

solo5_guest::app!(main);

static INITIALISED: AtomicU64 = AtomicU64::new(0x0123_4567_89ab_cdef);
static ZEROS: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

fn main(_: &Start) -> i32 {
    if INITIALISED.load(Relaxed) != 0x0123_4567_89ab_cdef {
        return 1;
    }
    INITIALISED.store(7, Relaxed);
    if INITIALISED.load(Relaxed) != 7 {
        return 2;
    }
    if ZEROS.iter().any(|word| word.swap(1, Relaxed) != 0) {
        return 3;
    }
    print!("SUCCESS\n");
    0
}
