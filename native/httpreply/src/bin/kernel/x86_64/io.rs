//! Registers: I/O ports and memory-mapped ones.

use core::arch::asm;

/// # Safety
/// Reading the port must have no effect that breaks the program.
pub unsafe fn read_port(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// # Safety
/// Writing the port must have no effect that breaks the program.
pub unsafe fn write_port(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags)) };
}

/// # Safety
/// The address must be of a 32-bit device register, and reading it must have no effect that breaks the program.
pub unsafe fn read_register(address: usize) -> u32 {
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { core::ptr::with_exposed_provenance::<u32>(address).read_volatile() }
}

/// # Safety
/// The address must be of a 32-bit device register, and writing it must have no effect that breaks the program.
pub unsafe fn write_register(address: usize, value: u32) {
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(value) };
}

/// # Safety
/// As [`read_register`], for a field of a device's configuration that is a byte wide.
pub unsafe fn read_byte(address: usize) -> u8 {
    // SAFETY: the caller's promise; memory is mapped one to one.
    unsafe { core::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
}
