//! Memory and the last word, for a program without the standard library: with it the program would be five times as long,
//! and it is loaded into the memory of every guest.

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use crate::console::say;

// On glibc build.rs names it, with what it needs itself.
#[cfg_attr(target_env = "musl", link(name = "c"))]
unsafe extern "C" {}

struct Heap;

// SAFETY: the C library's functions keep what the trait promises: blocks are aligned for everything that is used here, which
// is checked, and keep their content when they grow.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > align_of::<u128>() {
            return core::ptr::null_mut();
        }
        // SAFETY: takes any size.
        unsafe { libc::malloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller got it from `alloc`.
        unsafe { libc::free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller got it from `alloc`.
        unsafe { libc::realloc(block.cast(), size) }.cast()
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

/// A bug of ours. The kernel does what its `panic=` says when process 1 ends.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say(format_args!("{info}"));
    // SAFETY: ends this process.
    unsafe { libc::_exit(125) }
}

/// Named by the compiled parts of the standard library, which could unwind; here nothing does.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[cfg(target_env = "musl")]
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: ends this process.
    unsafe { libc::_exit(125) }
}
