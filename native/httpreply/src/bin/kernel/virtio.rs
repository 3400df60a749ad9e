//! A virtio network device behind memory-mapped registers (virtio 1.2, 4.2 and 5.1; not the legacy interface).

use core::sync::atomic::{Ordering, fence};

use httpreply::once::Once;
use httpreply::places::Place;
use httpreply::unikernel::Link;

use crate::machine::{read_byte, read_register, write_register};
use crate::queue::{BUFFER_BYTES, Memory, Queue, SIZE};

const MAGIC_VALUE: usize = 0x00;
const VERSION: usize = 0x04;
const DEVICE_ID: usize = 0x08;
const DEVICE_FEATURES: usize = 0x10;
const DEVICE_FEATURES_SELECT: usize = 0x14;
const DRIVER_FEATURES: usize = 0x20;
const DRIVER_FEATURES_SELECT: usize = 0x24;
const QUEUE_SELECT: usize = 0x30;
const QUEUE_SIZE_MAX: usize = 0x34;
const QUEUE_SIZE: usize = 0x38;
const QUEUE_READY: usize = 0x44;
const QUEUE_NOTIFY: usize = 0x50;
const INTERRUPT_STATUS: usize = 0x60;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
const STATUS: usize = 0x70;
const QUEUE_DESCRIPTORS: usize = 0x80;
const QUEUE_DRIVER: usize = 0x90;
const QUEUE_DEVICE: usize = 0xa0;
const CONFIG_MAC: usize = 0x100;
const CONFIG_MTU: usize = 0x10a;

const MAGIC: u32 = 0x7472_6976;
const NETWORK: u32 = 1;
const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
const FEATURE_MTU: u32 = 1 << 3;
const FEATURE_MAC: u32 = 1 << 5;
/// Bit 32, in the second word.
const FEATURE_VERSION_1: u32 = 1;

const RECEIVE: u32 = 0;
const SEND: u32 = 1;
/// `struct virtio_net_hdr` with `num_buffers`: all zero here, as no offload is negotiated.
const HEADER_BYTES: usize = 12;

static RECEIVE_MEMORY: Once<Memory> = Once::new(Memory::new());
static SEND_MEMORY: Once<Memory> = Once::new(Memory::new());

/// A device that was found and set up.
pub struct Nic {
    base: usize,
    link: Link,
    receive: Queue,
    send: Queue,
    /// A bit for each buffer that is ours to fill.
    free: u64,
}

impl Nic {
    /// Sets up the network device at a place; none if there is no such device, or why it cannot be used.
    ///
    /// # Errors
    /// A sentence for people.
    pub fn at(place: Place) -> Result<Option<Self>, &'static str> {
        let base = place.base;
        // SAFETY: the monitor named the registers; reading these changes nothing.
        let (magic, version, device) = unsafe {
            (
                read_register(base + MAGIC_VALUE),
                read_register(base + VERSION),
                read_register(base + DEVICE_ID),
            )
        };
        if magic != MAGIC || device != NETWORK {
            return Ok(None);
        }
        if version != 2 {
            return Err("the network device is a legacy one (QEMU: -global virtio-mmio.force-legacy=false)");
        }
        let (Some(receive), Some(send)) = (RECEIVE_MEMORY.take(), SEND_MEMORY.take()) else {
            return Ok(None);
        };
        let (mut receive, send) = (Queue::new(receive), Queue::new(send));
        // SAFETY: the registers of a virtio network device, written in the order of virtio 1.2, 3.1.1; the queues are static.
        unsafe {
            let features = negotiate(base)?;
            let link = Link {
                mac: core::array::from_fn(|at| {
                    if features & FEATURE_MAC != 0 {
                        read_byte(base + CONFIG_MAC + at)
                    } else {
                        [2, 0, 0, 0, 0, 1][at]
                    }
                }),
                mtu: if features & FEATURE_MTU != 0 {
                    u16::from_le_bytes([read_byte(base + CONFIG_MTU), read_byte(base + CONFIG_MTU + 1)])
                        .into()
                } else {
                    1500
                },
            };
            set_up_queue(base, RECEIVE, &receive)?;
            set_up_queue(base, SEND, &send)?;
            for buffer in 0..SIZE {
                receive.offer(buffer, BUFFER_BYTES, true);
            }
            send.silence();
            write_register(base + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
            write_register(base + QUEUE_NOTIFY, RECEIVE);
            Ok(Some(Self {
                base,
                link,
                receive,
                send,
                free: u64::MAX,
            }))
        }
    }

    pub fn link(&self) -> Link {
        self.link
    }

    /// Whether a received frame lies ready.
    pub fn has_received(&self) -> bool {
        self.receive.has_used()
    }

    /// Lowers the device's interrupt line, so that the next event can raise it.
    pub fn acknowledge(&self) {
        // SAFETY: the device's own registers.
        unsafe {
            let status = read_register(self.base + INTERRUPT_STATUS);
            if status != 0 {
                write_register(self.base + INTERRUPT_ACKNOWLEDGE, status);
            }
        }
    }

    pub fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let (buffer, length) = self.receive.take_used()?;
        let length = length.saturating_sub(HEADER_BYTES);
        // A frame that is too long counts as an empty one, which the stack drops.
        let length = if length <= frame.len() { length } else { 0 };
        self.receive.copy_out(buffer, HEADER_BYTES, &mut frame[..length]);
        self.receive.offer(buffer, BUFFER_BYTES, true);
        self.notify(RECEIVE);
        Some(length)
    }

    pub fn can_send(&mut self) -> bool {
        while let Some((buffer, _)) = self.send.take_used() {
            self.free |= 1 << buffer;
        }
        self.free != 0
    }

    pub fn send(&mut self, frame: &[u8]) {
        let length = HEADER_BYTES + frame.len();
        if length > BUFFER_BYTES || !self.can_send() {
            return;
        }
        let buffer = self.free.trailing_zeros() as usize;
        self.free &= !(1 << buffer);
        // The header before it stays zero.
        self.send.copy_in(buffer, HEADER_BYTES, frame);
        self.send.offer(buffer, length, false);
        self.notify(SEND);
    }

    fn notify(&self, queue: u32) {
        fence(Ordering::SeqCst);
        let is_wanted = if queue == RECEIVE {
            self.receive.wants_notice()
        } else {
            self.send.wants_notice()
        };
        if is_wanted {
            // SAFETY: the device's own register.
            unsafe { write_register(self.base + QUEUE_NOTIFY, queue) };
        }
    }
}

/// Resets the device and agrees on features; the ones of the first word are returned.
///
/// # Safety
/// `base` must be of a virtio device.
unsafe fn negotiate(base: usize) -> Result<u32, &'static str> {
    // SAFETY: the caller's promise.
    unsafe {
        write_register(base + STATUS, 0);
        // One bit after the other, as the standard has it: Firecracker refuses to take two at once.
        write_register(base + STATUS, ACKNOWLEDGE);
        write_register(base + STATUS, ACKNOWLEDGE | DRIVER);
        write_register(base + DEVICE_FEATURES_SELECT, 0);
        let features = read_register(base + DEVICE_FEATURES) & (FEATURE_MAC | FEATURE_MTU);
        write_register(base + DEVICE_FEATURES_SELECT, 1);
        if read_register(base + DEVICE_FEATURES) & FEATURE_VERSION_1 == 0 {
            return Err("the network device does not offer VIRTIO_F_VERSION_1");
        }
        write_register(base + DRIVER_FEATURES_SELECT, 0);
        write_register(base + DRIVER_FEATURES, features);
        write_register(base + DRIVER_FEATURES_SELECT, 1);
        write_register(base + DRIVER_FEATURES, FEATURE_VERSION_1);
        write_register(base + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if read_register(base + STATUS) & FEATURES_OK == 0 {
            return Err("the network device refuses our features");
        }
        Ok(features)
    }
}

/// # Safety
/// `base` must be of a virtio device whose features are agreed on.
unsafe fn set_up_queue(base: usize, number: u32, queue: &Queue) -> Result<(), &'static str> {
    // SAFETY: the caller's promise; a queue's memory is static.
    unsafe {
        write_register(base + QUEUE_SELECT, number);
        if (read_register(base + QUEUE_SIZE_MAX) as usize) < SIZE {
            return Err("the network device's queues are too small");
        }
        write_register(base + QUEUE_SIZE, SIZE as u32);
        for (register, address) in [QUEUE_DESCRIPTORS, QUEUE_DRIVER, QUEUE_DEVICE]
            .into_iter()
            .zip(queue.addresses())
        {
            let address = address as u64;
            write_register(base + register, address as u32);
            write_register(base + register + 4, (address >> 32) as u32);
        }
        write_register(base + QUEUE_READY, 1);
    }
    Ok(())
}
