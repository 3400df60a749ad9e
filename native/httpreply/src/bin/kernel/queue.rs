//! A split virtqueue (virtio 1.2, 2.7) with a buffer of its own behind every descriptor. What the device writes is read
//! once and checked.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

/// Descriptors, and buffers, of a queue.
pub const SIZE: usize = 64;
/// Bytes of a buffer. 64 of them exceed the 65 562 bytes that Firecracker wants to see before it delivers anything.
pub const BUFFER_BYTES: usize = 2048;

const DEVICE_WRITES: u16 = 2;
const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;

#[derive(Clone, Copy)]
#[repr(C)]
struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

#[repr(C)]
struct Used {
    buffer: AtomicU32,
    length: AtomicU32,
}

/// The three rings and the buffers. The device reads the first two rings and writes the third, and it writes buffers: all
/// of it is shared memory, reached through atomics and raw pointers only.
#[repr(C, align(4096))]
pub struct Memory {
    descriptors: UnsafeCell<[Descriptor; SIZE]>,
    driver_flags: AtomicU16,
    driver_index: AtomicU16,
    driver_ring: [AtomicU16; SIZE],
    device: DeviceRing,
    buffers: UnsafeCell<[[u8; BUFFER_BYTES]; SIZE]>,
}

#[repr(C, align(64))]
struct DeviceRing {
    flags: AtomicU16,
    index: AtomicU16,
    ring: [Used; SIZE],
}

impl Memory {
    pub const fn new() -> Self {
        Self {
            descriptors: UnsafeCell::new(
                [Descriptor {
                    address: 0,
                    length: 0,
                    flags: 0,
                    next: 0,
                }; SIZE],
            ),
            driver_flags: AtomicU16::new(0),
            driver_index: AtomicU16::new(0),
            driver_ring: [const { AtomicU16::new(0) }; SIZE],
            device: DeviceRing {
                flags: AtomicU16::new(0),
                index: AtomicU16::new(0),
                ring: [const {
                    Used {
                        buffer: AtomicU32::new(0),
                        length: AtomicU32::new(0),
                    }
                }; SIZE],
            },
            buffers: UnsafeCell::new([[0; BUFFER_BYTES]; SIZE]),
        }
    }
}

/// The driver's side of a queue.
pub struct Queue {
    memory: &'static Memory,
    /// Where the device was when we last looked.
    seen: u16,
}

impl Queue {
    /// A queue on memory that nothing else uses, hence the exclusive reference.
    pub fn new(memory: &'static mut Memory) -> Self {
        Self { memory, seen: 0 }
    }

    /// Where descriptors, driver ring and device ring lie.
    pub fn addresses(&self) -> [usize; 3] {
        let memory = self.memory;
        [
            memory.descriptors.get().addr(),
            (&raw const memory.driver_flags).addr(),
            (&raw const memory.device).addr(),
        ]
    }

    /// Copies bytes of a buffer that is not offered, beginning at `from`. Both must lie within it.
    pub fn copy_out(&self, buffer: usize, from: usize, to: &mut [u8]) {
        assert!(buffer < SIZE && from + to.len() <= BUFFER_BYTES);
        // SAFETY: the bytes lie in the buffer, and the device has finished with it.
        unsafe {
            self.place(buffer)
                .add(from)
                .copy_to_nonoverlapping(to.as_mut_ptr(), to.len())
        };
    }

    /// Copies bytes to a buffer that is not offered, beginning at `to`. Both must lie within it.
    pub fn copy_in(&mut self, buffer: usize, to: usize, bytes: &[u8]) {
        assert!(buffer < SIZE && to + bytes.len() <= BUFFER_BYTES);
        // SAFETY: the bytes lie in the buffer, which is ours until it is offered.
        unsafe {
            self.place(buffer)
                .add(to)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
    }

    /// Gives a buffer to the device, to read its first `length` bytes or to write up to as many.
    pub fn offer(&mut self, buffer: usize, length: usize, device_writes: bool) {
        assert!(buffer < SIZE && length <= BUFFER_BYTES);
        let address = self.place(buffer).expose_provenance() as u64;
        let flags = if device_writes { DEVICE_WRITES } else { 0 };
        let descriptor = Descriptor {
            address,
            length: length as u32,
            flags,
            next: 0,
        };
        // SAFETY: the place is in the table; volatile, since the device reads it unseen by the compiler.
        unsafe {
            self.memory
                .descriptors
                .get()
                .cast::<Descriptor>()
                .add(buffer)
                .write_volatile(descriptor)
        };
        let index = self.memory.driver_index.load(Ordering::Relaxed);
        self.memory.driver_ring[usize::from(index) % SIZE].store(buffer as u16, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.memory
            .driver_index
            .store(index.wrapping_add(1), Ordering::Release);
    }

    /// Asks for no interrupts.
    pub fn silence(&self) {
        self.memory.driver_flags.store(NO_INTERRUPT, Ordering::Relaxed);
    }

    /// Whether the device wants to hear of new offers.
    pub fn wants_notice(&self) -> bool {
        self.memory.device.flags.load(Ordering::Acquire) & NO_NOTIFY == 0
    }

    /// Whether the device has finished a buffer.
    pub fn has_used(&self) -> bool {
        self.memory.device.index.load(Ordering::Acquire) != self.seen
    }

    /// The next finished buffer and the bytes that the device wrote. What cannot be is skipped.
    pub fn take_used(&mut self) -> Option<(usize, usize)> {
        while self.has_used() {
            let used = &self.memory.device.ring[usize::from(self.seen) % SIZE];
            self.seen = self.seen.wrapping_add(1);
            let buffer = used.buffer.load(Ordering::Relaxed) as usize;
            let length = used.length.load(Ordering::Relaxed) as usize;
            if buffer < SIZE && length <= BUFFER_BYTES {
                // The buffer's bytes were written before the index, by someone the compiler does not know.
                fence(Ordering::SeqCst);
                return Some((buffer, length));
            }
        }
        None
    }

    fn place(&self, buffer: usize) -> *mut u8 {
        self.memory
            .buffers
            .get()
            .cast::<u8>()
            .wrapping_add(buffer * BUFFER_BYTES)
    }
}
