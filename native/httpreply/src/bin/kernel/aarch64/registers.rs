//! Memory-mapped registers, by the plain loads and stores that a hypervisor can emulate: of the forms that change an address
//! on the way, which a compiler may choose, it learns too little.

use core::arch::asm;

/// # Safety
/// The address must be of a 32-bit device register, and reading it must have no effect that breaks the program.
pub unsafe fn read_register(address: usize) -> u32 {
    let value;
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { asm!("ldr {0:w}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value
}

/// # Safety
/// The address must be of a 32-bit device register, and writing it must have no effect that breaks the program.
pub unsafe fn write_register(address: usize, value: u32) {
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { asm!("str {0:w}, [{1}]", in(reg) value, in(reg) address, options(nostack, preserves_flags)) };
}

/// # Safety
/// As [`read_register`], for a field of a device's configuration that is a byte wide.
pub unsafe fn read_byte(address: usize) -> u8 {
    let value: u32;
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { asm!("ldrb {0:w}, [{1}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value as u8
}
