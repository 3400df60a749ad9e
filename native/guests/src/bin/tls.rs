//! Two blocks of thread-local memory, made from the image in the file, are told apart by the thread pointer.
#![no_std]
#![no_main]

use core::arch::global_asm;
use solo5_guest::{Start, print, tls};

solo5_guest::app!(main);

// A thread-local number as a compiler would lay it out: its image in .tdata, reached at an offset below the pointer.
global_asm!(
    ".section .tdata, \"awT\", @progbits",
    ".balign 8",
    "answer:",
    ".quad 42",
    ".section .tbss, \"awT\", @nobits",
    ".balign 8",
    "nothing:",
    ".zero 8",
    ".text",
    "answer_offset: mov rax, offset answer@tpoff",
    "ret",
    "nothing_offset: mov rax, offset nothing@tpoff",
    "ret",
);

unsafe extern "C" {
    static _tdata: [u64; 1];
    fn answer_offset() -> i64;
    fn nothing_offset() -> i64;
}

/// Room below the pointer, then the word that it points to and that holds itself.
#[repr(C, align(16))]
struct Block {
    local: [u64; 6],
    pointer: u64,
}

fn make(block: &mut Block, answer_at: i64) -> u64 {
    let pointer = &raw mut block.pointer as u64;
    block.pointer = pointer;
    // SAFETY: the image is one word, and its place lies in the block, as `main` has checked.
    unsafe { ((pointer as i64 + answer_at) as *mut u64).write_volatile(_tdata[0]) };
    pointer
}

fn main(_: &Start) -> i32 {
    let mut blocks = [const {
        Block {
            local: [0; 6],
            pointer: 0,
        }
    }; 2];
    // SAFETY: functions of the assembly above.
    let (answer_at, nothing_at) = unsafe { (answer_offset(), nothing_offset()) };
    if !(-48..0).contains(&answer_at) || !(-48..0).contains(&nothing_at) {
        return 1;
    }
    let [first, second] = &mut blocks;
    let pointers = [make(first, answer_at), make(second, answer_at)];
    for (index, pointer) in pointers.into_iter().enumerate() {
        // SAFETY: both blocks live to the end, and the offsets lie in them.
        unsafe {
            tls::set_thread_pointer(pointer);
            if tls::load(0) != pointer {
                return 2;
            }
            if tls::load(answer_at) != 42 || tls::load(nothing_at) != 0 {
                return 3;
            }
            ((pointer as i64 + answer_at) as *mut u64).write_volatile(100 + index as u64);
        }
    }
    for (index, pointer) in pointers.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe {
            tls::set_thread_pointer(pointer);
            if tls::load(answer_at) != 100 + index as u64 {
                return 4;
            }
        }
    }
    print!("SUCCESS\n");
    0
}
