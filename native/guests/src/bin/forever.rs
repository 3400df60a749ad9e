//! Never ends: sleeps, or `spin`s without ever calling the tender.
#![no_std]
#![no_main]

use solo5_guest::{Start, print, yield_until};

solo5_guest::app!(main);

fn main(start: &Start) -> i32 {
    print!("ready\n");
    if start.command_line == "spin" {
        loop {
            core::hint::spin_loop();
        }
    }
    loop {
        yield_until(u64::MAX);
    }
}
