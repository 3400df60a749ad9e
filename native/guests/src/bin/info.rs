//! Says what memory it was given, and touches its first and last byte.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(start: &Start) -> i32 {
    let end = start.heap_start + start.heap_size;
    for at in [start.heap_start, end - 1] {
        let byte = at as *mut u8;
        // SAFETY: the heap is nobody's; the last byte lies above the stack's first word.
        unsafe { byte.write_volatile(byte.read_volatile()) };
    }
    print!("memory ends at 0x{end:x}\nSUCCESS\n");
    0
}
