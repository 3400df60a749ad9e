//! Greets, and checks that the command line arrived.
#![no_std]
#![no_main]

use solo5_guest::{Start, print};

solo5_guest::app!(main);

fn main(start: &Start) -> i32 {
    print!("Hello, World\nCommand line is: '{}'\n", start.command_line);
    if start.command_line != "Hello_Solo5" {
        return 1;
    }
    print!("SUCCESS\n");
    0
}
