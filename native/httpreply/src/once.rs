//! A static that one owner may take, once: what a kernel without an allocator has for memory.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A value with static lifetime, handed out to the first who asks.
pub struct Once<T> {
    is_taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: only one caller ever gets the value, whichever thread it is on; it may then move there, hence `Send`.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    pub const fn new(value: T) -> Self {
        Self {
            is_taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, if nobody took it before.
    #[expect(clippy::mut_from_ref, reason = "what the flag is for")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.is_taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the flag was false until now and never is again, so that this is the only reference.
        Some(unsafe { &mut *self.value.get() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_handed_out_once() {
        static VALUE: Once<u32> = Once::new(7);
        assert_eq!(VALUE.take().copied(), Some(7));
        assert!(VALUE.take().is_none());
    }
}
