//! Faults: tables of our own, since the tender's are unmapped for the guest, and a handler that tells and ends.

use super::halt;
use crate::cell::Single;
use core::arch::{asm, global_asm};

const CODE: u16 = 8;
const TASK: u16 = 24;
const VECTORS: usize = 32;
const STACK: usize = 16384;

/// Null, code, data, task state (two places).
static GDT: Single<[u64; 5]> = Single::new([0, 0x00af_9900_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0]);
static IDT: Single<[[u64; 2]; VECTORS]> = Single::new([[0; 2]; VECTORS]);
static TSS: Single<[u32; 26]> = Single::new([0; 26]);

#[repr(C, align(16))]
struct Stack([u8; STACK]);
/// A stack for the handler, so that a fault by a broken stack is told too.
static TRAP_STACK: Single<Stack> = Single::new(Stack([0; STACK]));
/// Where the tender finds the registers of the fault; it wants 512 valid bytes.
static COOKIE: Single<[u64; 64]> = Single::new([0; 64]);

unsafe extern "C" {
    static trap_entries: [u8; VECTORS * 16];
}

// One entry of 16 bytes a vector: an error code where the processor pushes none, the vector, and on to what is common.
global_asm!(
    ".balign 16",
    ".global trap_entries",
    "trap_entries:",
    ".set vector, 0",
    ".rept 32",
    ".balign 16",
    ".if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && vector != 29 && vector != 30",
    "push 0",
    ".endif",
    "push vector",
    "jmp trap_common",
    ".set vector, vector + 1",
    ".endr",
    "trap_common:",
    "mov rdi, rsp",
    "mov rsi, cr2",
    "and rsp, -16",
    "call {handler}",
    "ud2",
    handler = sym fatal_trap,
);

#[repr(C)]
struct Frame {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

extern "C" fn fatal_trap(frame: &Frame, cr2: u64) -> ! {
    const NAMES: [&str; 15] = [
        "#DE", "#DB", "#NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "?", "#TS", "#NP", "#SS", "#GP",
        "#PF",
    ];
    let name = NAMES.get(frame.vector as usize).copied().unwrap_or("?");
    let Frame {
        error,
        rip,
        cs,
        rflags,
        rsp,
        ss,
        vector,
    } = *frame;
    crate::print!(
        "Solo5: trap: type={name} ec=0x{error:x} rip=0x{rip:x} rsp=0x{rsp:x} rflags=0x{rflags:x}\n"
    );
    if vector == 14 {
        crate::print!("Solo5: trap: cr2=0x{cr2:x}\n");
    }
    crate::print!("Solo5: ABORT: {}:{}: Fatal trap\n", file!(), line!());
    let cookie = COOKIE.pointer();
    // SAFETY: one thread, no other reference.
    unsafe { (&mut *cookie)[..7].copy_from_slice(&[cr2, error, rip, cs, rflags, rsp, ss]) };
    halt(255, cookie as u64)
}

pub(super) fn install() {
    let tss = TSS.pointer() as u64;
    let stack_top = TRAP_STACK.pointer() as u64 + STACK as u64;
    // SAFETY: the tables are static; they are complete before the processor is told of them, and describe the same
    // flat code and data segments that the guest runs with already.
    unsafe {
        // Interrupt stack 1 is at byte 36 of the task state.
        (*TSS.pointer())[9] = stack_top as u32;
        (*TSS.pointer())[10] = (stack_top >> 32) as u32;
        let limit = size_of::<[u32; 26]>() as u64 - 1;
        (*GDT.pointer())[3] = limit | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
        (*GDT.pointer())[4] = tss >> 32;
        for (vector, gate) in (*IDT.pointer()).iter_mut().enumerate() {
            let entry = &raw const trap_entries as u64 + 16 * vector as u64;
            let low =
                entry & 0xffff | u64::from(CODE) << 16 | 1 << 32 | 0x8e << 40 | (entry >> 16 & 0xffff) << 48;
            *gate = [low, entry >> 32];
        }
        let gdtr = pseudo_descriptor(GDT.pointer() as u64, size_of::<[u64; 5]>());
        let idtr = pseudo_descriptor(IDT.pointer() as u64, size_of::<[[u64; 2]; VECTORS]>());
        asm!("lgdt [{}]", "ltr {:x}", "lidt [{}]", in(reg) &raw const gdtr, in(reg) TASK, in(reg) &raw const idtr);
    }
}

fn pseudo_descriptor(base: u64, size: usize) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&(size as u16 - 1).to_le_bytes());
    bytes[2..].copy_from_slice(&base.to_le_bytes());
    bytes
}
