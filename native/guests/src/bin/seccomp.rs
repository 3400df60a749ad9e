//! A system call that is not left to guests, named by number in the command line: dup (32) unless told.
#![no_std]
#![no_main]

use solo5_guest::{Start, print, spt};

solo5_guest::app!(main);

fn main(start: &Start) -> i32 {
    let mut words = start.command_line.split(' ').map(|word| word.parse::<u64>().ok());
    let number = words.next().flatten().unwrap_or(32);
    let mut argument = || words.next().flatten().unwrap_or(0);
    let arguments = [
        argument(),
        argument(),
        argument(),
        argument(),
        argument(),
        argument(),
    ];
    // SAFETY: the filter ends the process before the call is made; that is the test.
    let result = unsafe { spt::syscall(number, arguments) };
    print!("FAILURE: {result}\n");
    1
}
