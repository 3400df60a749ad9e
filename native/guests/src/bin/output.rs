//! Writes more than a page to the console at once, a NUL among it.
#![no_std]
#![no_main]

use solo5_guest::{Start, console};

solo5_guest::app!(main);

fn main(_: &Start) -> i32 {
    let mut text = [b'.'; 8192];
    text[4095] = 0;
    text[8191] = b'\n';
    console::write(&text);
    0
}
