//! Hypercalls that no well-behaved guest makes; the command line says which.
#![no_std]
#![no_main]

use core::arch::asm;
use solo5_guest::hvt::hypercall;
use solo5_guest::{Start, print};

solo5_guest::app!(main, Block "storage", Net "service0");

static READ_ONLY: [u64; 4] = [1, 2, 3, 4];

fn main(start: &Start) -> i32 {
    let end = start.heap_start + start.heap_size;
    let inside = start.heap_start;
    let puts = |data: u64, length: u64| {
        let mut arguments = [data, length];
        // SAFETY: not safe at all; the tender must refuse it.
        unsafe { hypercall(2, &raw mut arguments) };
    };
    let block = |number: u16, handle: u64, offset: u64, data: u64, length: u64| {
        let mut arguments = [handle, offset, data, length, u64::MAX];
        // SAFETY: as above.
        unsafe { hypercall(number, &raw mut arguments) };
        arguments[4] as i32
    };
    let net = |number: u16, handle: u64, data: u64, length: u64| {
        let mut arguments = [handle, data, length, u64::MAX];
        // SAFETY: as above.
        unsafe { hypercall(number, &raw mut arguments) };
        arguments[3] as i32
    };
    // SAFETY: what each does is refused by the tender, or harmless.
    unsafe {
        match start.command_line {
            "number-0" => hypercall(0, core::ptr::null_mut::<u8>()),
            "port" => asm!("out dx, eax", in("dx") 0x600_u16, in("eax") 0_u32),
            "port-size" => asm!("out dx, al", in("dx") 0x502_u16, in("al") 0_u8),
            "port-in" => asm!("in eax, dx", in("dx") 0x502_u16, out("eax") _),
            "struct-beyond" => hypercall(2, end as *mut u8),
            "struct-at-end" => hypercall(2, (end - 16) as *mut u8),
            "struct-low" => hypercall(2, 0x1_0000 as *mut u8),
            "struct-read-only" => hypercall(3, READ_ONLY.as_ptr().cast_mut()),
            "buffer-beyond" => puts(end - 8, 16),
            "buffer-at-end" => puts(end - 8, 8),
            "buffer-overflow" => puts(inside, u64::MAX),
            "buffer-low" => puts(0x2000, 8),
            "block-low" => drop(block(5, 1, 0, 0x2000, 512)),
            "block-read-only" => drop(block(5, 1, 0, READ_ONLY.as_ptr() as u64 & !0xfff, 512)),
            "net-read-low" => drop(net(7, 2, 0x2000, 2048)),
            "cookie-beyond" => {
                let mut halt = [end - 8, 0];
                hypercall(8, &raw mut halt);
            }
            "hlt" => asm!("hlt"),
            "triple-fault" => {
                let nothing = [0_u8; 10];
                asm!("lidt [{}]", "ud2", in(reg) &raw const nothing);
            }
            "refused-softly" => {
                let answers = [
                    block(5, 0, 0, inside, 512),
                    block(5, 2, 0, inside, 512),
                    block(5, 64, 0, inside, 512),
                    block(5, u64::MAX, 0, inside, 512),
                    block(5, 1, u64::MAX, inside, 512),
                    block(5, 1, u64::MAX - 511, inside, 512),
                    block(4, 1, 1 << 40, inside, 512),
                    net(6, 1, inside, 64),
                    net(7, 63, inside, 64),
                ];
                if answers.iter().any(|&answer| answer != 2) {
                    print!("FAILURE: {answers:?}\n");
                    return 2;
                }
                print!("SUCCESS\n");
                return 0;
            }
            _ => {}
        }
    }
    print!("FAILURE: still here\n");
    1
}
