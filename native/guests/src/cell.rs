//! Statics that are written: sound because a guest has one thread and no interrupts.

use core::cell::UnsafeCell;

/// A static that the only thread reads and writes.
#[repr(transparent)]
pub struct Single<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    pub const fn new(value: T) -> Single<T> {
        Single(UnsafeCell::new(value))
    }

    pub fn pointer(&self) -> *mut T {
        self.0.get()
    }
}

impl<T: Copy> Single<T> {
    pub fn get(&self) -> T {
        // SAFETY: one thread, and no reference is handed out.
        unsafe { *self.0.get() }
    }

    pub fn set(&self, value: T) {
        // SAFETY: one thread, and no reference is handed out.
        unsafe { *self.0.get() = value }
    }
}
