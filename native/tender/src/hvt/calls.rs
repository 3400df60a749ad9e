//! The hypercalls. Every address comes from the guest and is checked; stricter than Solo5 in one point: what lies
//! below the image (page tables, boot information) is no buffer.

use crate::devices::{Block, Device, Net};
use crate::memory::{GuestMemory, IMAGE_BASE};
use std::time::{SystemTime, UNIX_EPOCH};

const WALLTIME: u64 = 1;
const PUTS: u64 = 2;
const POLL: u64 = 3;
const BLOCK_WRITE: u64 = 4;
const BLOCK_READ: u64 = 5;
const NET_WRITE: u64 = 6;
const NET_READ: u64 = 7;
const HALT: u64 = 8;

const OK: i32 = 0;
const AGAIN: i32 = 1;
const INVALID: i32 = 2;
const UNSPECIFIED: i32 = 3;

/// Bytes that a halt cookie must be valid for.
const COOKIE_SIZE: u64 = 512;
const SECOND: u64 = 1_000_000_000;

/// Why the guest does not go on.
pub enum Trouble {
    /// It asked to end with this status.
    Halt(i32),
    /// No such hypercall, or none of its devices.
    Number,
    Access {
        address: u64,
        size: u64,
    },
    System {
        what: &'static str,
        why: &'static str,
    },
}

/// All that hypercalls work on; nothing here allocates after [`Calls::new`].
pub struct Calls {
    memory: GuestMemory,
    devices: Vec<Device>,
    polled: Vec<libc::pollfd>,
    /// The handle of each descriptor in `polled`.
    handles: Vec<u32>,
}

impl Calls {
    pub fn new(memory: GuestMemory, devices: &[Device]) -> Calls {
        let nets = devices
            .iter()
            .enumerate()
            .filter_map(|(index, device)| match device {
                Device::Net(net) => Some((
                    index as u32 + 1,
                    libc::pollfd {
                        fd: net.fd,
                        events: libc::POLLIN,
                        revents: 0,
                    },
                )),
                Device::Block(_) => None,
            });
        let (handles, polled) = nets.unzip();
        Calls {
            memory,
            devices: devices.to_vec(),
            polled,
            handles,
        }
    }

    pub fn memory_size(&self) -> u64 {
        self.memory.end()
    }

    /// Carries out hypercall `number` with its struct at `argument`.
    pub fn call(&mut self, number: u64, argument: u64) -> Result<(), Trouble> {
        let has_block = self.devices.len() > self.polled.len();
        match number {
            WALLTIME => self.wall_time(argument),
            PUTS => self.puts(argument),
            POLL => self.poll(argument),
            BLOCK_WRITE | BLOCK_READ if has_block => self.block(argument, number == BLOCK_WRITE),
            NET_WRITE if !self.polled.is_empty() => self.net_write(argument),
            NET_READ if !self.polled.is_empty() => self.net_read(argument),
            HALT => self.halt(argument),
            _ => Err(Trouble::Number),
        }
    }

    fn wall_time(&mut self, argument: u64) -> Result<(), Trouble> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_nanos() as u64);
        self.put(argument, &now.to_le_bytes())
    }

    fn puts(&mut self, argument: u64) -> Result<(), Trouble> {
        let [data, length] = self.arguments(argument)?;
        let (mut at, mut left) = (self.buffer(data, length)?, length as usize);
        while left > 0 {
            // SAFETY: `left` bytes of guest memory, which the call only reads.
            match unsafe { libc::write(libc::STDOUT_FILENO, at.cast(), left) } {
                // SAFETY: no more than `left` bytes were written.
                written @ 1.. => (at, left) = (unsafe { at.add(written as usize) }, left - written as usize),
                // The console is best effort: the guest is not told.
                _ => break,
            }
        }
        Ok(())
    }

    fn poll(&mut self, argument: u64) -> Result<(), Trouble> {
        let [timeout, _, _] = self.arguments(argument)?;
        let timeout = libc::timespec {
            tv_sec: (timeout / SECOND) as _,
            tv_nsec: ((timeout % SECOND) | 1) as _, // never 0: the time must pass
        };
        // SAFETY: the array and its length agree; the timeout outlives the call; no mask.
        let found = unsafe {
            libc::ppoll(
                self.polled.as_mut_ptr(),
                self.polled.len() as libc::nfds_t,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        if found < 0 {
            return Err(system("polling"));
        }
        let mut ready = 0_u64;
        for (polled, handle) in self.polled.iter_mut().zip(&self.handles) {
            if std::mem::take(&mut polled.revents) != 0 {
                ready |= 1 << handle;
            }
        }
        self.put(argument + 8, &ready.to_le_bytes())?;
        self.put(argument + 16, &ready.count_ones().to_le_bytes())
    }

    fn block(&mut self, argument: u64, write: bool) -> Result<(), Trouble> {
        let [handle, offset, data, length, _] = self.arguments(argument)?;
        let fits = |block: &Block| {
            length <= isize::MAX as u64
                && offset < block.capacity
                && offset
                    .checked_add(length)
                    .is_some_and(|end| end <= block.capacity)
        };
        let Some(block) = self.block_device(handle).filter(fits) else {
            return self.put(argument + 32, &INVALID.to_le_bytes());
        };
        let buffer = self.buffer(data, length)?.cast::<libc::c_void>();
        // SAFETY: `length` bytes of guest memory. Where the host has protected them the call fails with EFAULT.
        let (done, what) = unsafe {
            match write {
                true => (
                    libc::pwrite64(block.fd, buffer, length as usize, offset as i64),
                    "writing to a block device",
                ),
                false => (
                    libc::pread64(block.fd, buffer, length as usize, offset as i64),
                    "reading from a block device",
                ),
            }
        };
        match done {
            ..0 => Err(system(what)),
            done if done as u64 != length => Err(Trouble::System {
                what,
                why: "short transfer",
            }),
            _ => self.put(argument + 32, &OK.to_le_bytes()),
        }
    }

    fn net_write(&mut self, argument: u64) -> Result<(), Trouble> {
        let [handle, data, length, _] = self.arguments(argument)?;
        let Some(net) = self.net_device(handle) else {
            return self.put(argument + 24, &INVALID.to_le_bytes());
        };
        let buffer = self.buffer(data, length)?;
        // SAFETY: `length` bytes of guest memory, which the call only reads.
        let written = unsafe { libc::write(net.fd, buffer.cast(), length as usize) };
        // An interface that is down for a moment must not end the guest: it is told, as under spt.
        let result = if written == length as isize {
            OK
        } else {
            UNSPECIFIED
        };
        self.put(argument + 24, &result.to_le_bytes())
    }

    fn net_read(&mut self, argument: u64) -> Result<(), Trouble> {
        let [handle, data, length, _] = self.arguments(argument)?;
        let Some(net) = self.net_device(handle) else {
            return self.put(argument + 24, &INVALID.to_le_bytes());
        };
        let buffer = self.buffer(data, length)?;
        // SAFETY: `length` bytes of guest memory. Where the host has protected them the call fails with EFAULT.
        let read = unsafe { libc::read(net.fd, buffer.cast(), length as usize) };
        let again =
            read == 0 || (read < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN));
        if again {
            return self.put(argument + 24, &AGAIN.to_le_bytes());
        }
        if read < 0 {
            return Err(system("reading from a network device"));
        }
        self.put(argument + 16, &(read as u64).to_le_bytes())?;
        self.put(argument + 24, &OK.to_le_bytes())
    }

    fn halt(&mut self, argument: u64) -> Result<(), Trouble> {
        let [cookie, status] = self.arguments(argument)?;
        if cookie != 0 {
            self.buffer(cookie, COOKIE_SIZE)?;
        }
        Err(Trouble::Halt(status as i32))
    }

    fn block_device(&self, handle: u64) -> Option<Block> {
        match self.device(handle)? {
            Device::Block(block) => Some(*block),
            Device::Net(_) => None,
        }
    }

    fn net_device(&self, handle: u64) -> Option<Net> {
        match self.device(handle)? {
            Device::Net(net) => Some(*net),
            Device::Block(_) => None,
        }
    }

    fn device(&self, handle: u64) -> Option<&Device> {
        self.devices.get(usize::try_from(handle.checked_sub(1)?).ok()?)
    }

    /// The struct at `argument`, all of it, as words. It ends in a word of which the call may use a half.
    fn arguments<const N: usize>(&self, argument: u64) -> Result<[u64; N], Trouble> {
        let size = 8 * N as u64;
        let start = self.buffer(argument, size)?;
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: inside the checked range; the guest need not have aligned it.
            *word = u64::from_le(unsafe { start.cast::<u64>().add(index).read_unaligned() });
        }
        Ok(words)
    }

    /// A range that the guest may name: memory from the image on. The last byte of memory is no part of it, which is
    /// Solo5's rule.
    fn buffer(&self, address: u64, size: u64) -> Result<*mut u8, Trouble> {
        let access = Trouble::Access { address, size };
        let inside = address >= IMAGE_BASE
            && address
                .checked_add(size)
                .is_some_and(|end| end < self.memory.end());
        match self.memory.pointer(address, size) {
            Some(pointer) if inside => Ok(pointer),
            _ => Err(access),
        }
    }

    /// Writes a result to the guest.
    fn put(&mut self, address: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let size = bytes.len() as u64;
        self.buffer(address, size)?;
        // A write by the tender itself into a page that the host has protected would end the tender.
        if self.memory.write(address, bytes) {
            Ok(())
        } else {
            Err(Trouble::Access { address, size })
        }
    }
}

fn system(what: &'static str) -> Trouble {
    Trouble::System {
        what,
        why: super::console::errno_text(),
    }
}
