//! Ends with the status that the command line says.
#![no_std]
#![no_main]

use solo5_guest::Start;

solo5_guest::app!(main);

fn main(start: &Start) -> i32 {
    start.command_line.parse().unwrap_or(99)
}
