//! The jump into an `spt` guest: its stack, its one argument, nothing left of ours in the other registers.

use std::arch::asm;
use std::convert::Infallible;

/// # Safety
/// `entry` is code that may run with a stack that ends at `memory_size`, and nothing of the tender is needed again.
#[cfg(target_arch = "x86_64")]
pub unsafe fn enter(
    entry: u64,
    memory_size: u64,
    boot_info: u64,
) -> Result<Infallible, crate::failure::Failure> {
    // SAFETY: as the caller promises. As at a function's first instruction: rsp + 8 is a multiple of 16.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "xor ebp, ebp",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor esi, esi",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
            "cld",
            "jmp rax",
            in("rax") entry,
            in("rcx") memory_size - 8,
            in("rdi") boot_info,
            options(noreturn),
        )
    }
}

/// # Safety
/// `entry` is code that may run with a stack that ends at `memory_size`, and nothing of the tender is needed again.
#[cfg(target_arch = "aarch64")]
pub unsafe fn enter(
    entry: u64,
    memory_size: u64,
    boot_info: u64,
) -> Result<Infallible, crate::failure::Failure> {
    // SAFETY: as the caller promises. The frame and link registers are cleared: there is nothing to return to.
    unsafe {
        asm!(
            "mov sp, x1",
            "mov x29, xzr",
            "mov x30, xzr",
            "br x2",
            in("x0") boot_info,
            in("x1") memory_size - 16,
            in("x2") entry,
            options(noreturn),
        )
    }
}
