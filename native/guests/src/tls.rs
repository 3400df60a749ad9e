//! The thread pointer: set by the guest, never by the tender.

use core::arch::asm;

/// Points the thread pointer at `address`.
///
/// # Safety
/// `address` heads a thread control block that outlives its use, or nothing thread-local is used.
pub unsafe fn set_thread_pointer(address: u64) {
    crate::abi::set_thread_pointer(address);
}

/// Reads 8 bytes at `offset` from the thread pointer.
///
/// # Safety
/// That memory belongs to the thread's block.
pub unsafe fn load(offset: i64) -> u64 {
    let value: u64;
    // SAFETY: the caller's promise.
    unsafe { asm!("mov {}, qword ptr fs:[{}]", out(reg) value, in(reg) offset, options(nostack, readonly)) };
    value
}
