//! The guest's memory as the tender sees it: one anonymous mapping, reached only through checked ranges.

use crate::failure::{Failure, Result};
use std::io;
use std::ops::Range;

pub const PAGE: u64 = 0x1000;

/// Where guest images are linked; everything below belongs to the tender.
pub const IMAGE_BASE: u64 = 0x10_0000;

/// Up to this size huge pages are refused: the kernel would back a small guest that touches a few pages with whole
/// 2 MiB pages.
const SMALL_GUEST: u64 = 64 << 20;

/// Memory from guest address `start` to `end`. Pages are taken from the system when the guest first touches them.
pub struct GuestMemory {
    /// Host address of guest address 0 (0 when guest and host addresses are the same).
    offset: usize,
    start: u64,
    end: u64,
    /// Guest ranges that the host side has write-protected, ascending.
    read_only: Vec<Range<u64>>,
}

impl GuestMemory {
    /// Memory `[0, size)` somewhere in the tender's address space.
    pub fn anywhere(size: u64) -> Result<GuestMemory> {
        let mapped = map(0, size, libc::PROT_READ | libc::PROT_WRITE, 0).map_err(|error| {
            Failure::system(
                format!("Could not map {} MiB of guest memory", size >> 20),
                &error,
            )
        })?;
        Ok(GuestMemory {
            offset: mapped,
            start: 0,
            end: size,
            read_only: Vec::new(),
        })
    }

    /// Memory `[start, end)` at the same host addresses. Fails with `EEXIST` where something is mapped already.
    pub fn in_place(start: u64, end: u64, executable: bool) -> io::Result<GuestMemory> {
        let protection = libc::PROT_READ | libc::PROT_WRITE | if executable { libc::PROT_EXEC } else { 0 };
        let mapped = map(start as usize, end - start, protection, libc::MAP_FIXED_NOREPLACE)?;
        if mapped as u64 != start {
            // A kernel without MAP_FIXED_NOREPLACE (before 4.17) takes the address for a hint.
            // SAFETY: exactly the mapping made above, which nothing refers to yet.
            unsafe { libc::munmap(mapped as *mut libc::c_void, (end - start) as usize) };
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        Ok(GuestMemory {
            offset: 0,
            start,
            end,
            read_only: Vec::new(),
        })
    }

    /// One past the last guest address.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The host address of the mapping's first byte.
    pub fn host_start(&self) -> usize {
        self.offset + self.start as usize
    }

    /// Whether `[address, address + length)` is guest memory.
    pub fn contains(&self, address: u64, length: u64) -> bool {
        address >= self.start && address.checked_add(length).is_some_and(|end| end <= self.end)
    }

    /// Whether the tender may write to the range: it is guest memory and no write-protected page is in it.
    pub fn is_writable(&self, address: u64, length: u64) -> bool {
        self.contains(address, length)
            && !self
                .read_only
                .iter()
                .any(|range| address < range.end && address + length > range.start)
    }

    /// Host pointer to a range of guest memory, or `None` where it is not all guest memory.
    pub fn pointer(&self, address: u64, length: u64) -> Option<*mut u8> {
        self.contains(address, length)
            .then_some((self.offset + address as usize) as *mut u8)
    }

    /// Host pointer to a range of guest memory that the tender may write.
    pub fn writable_pointer(&self, address: u64, length: u64) -> Option<*mut u8> {
        self.is_writable(address, length)
            .then_some((self.offset + address as usize) as *mut u8)
    }

    /// A range to write into; used before the guest runs and between its exits, never while it runs.
    pub fn bytes_mut(&mut self, address: u64, length: u64) -> Option<&mut [u8]> {
        let pointer = self.writable_pointer(address, length)?;
        // SAFETY: the range lies in the mapping, is writable, and is exclusively ours through `&mut self`.
        Some(unsafe { std::slice::from_raw_parts_mut(pointer, length as usize) })
    }

    /// A copy of `N` bytes of guest memory.
    pub fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let pointer = self.pointer(address, N as u64)?;
        // SAFETY: `pointer` heads N readable bytes (host protection always includes reading), alignment is 1.
        Some(unsafe { std::ptr::read_unaligned(pointer.cast::<[u8; N]>()) })
    }

    /// Copies `bytes` to guest memory; false where the range is not writable guest memory.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        match self.bytes_mut(address, bytes.len() as u64) {
            Some(into) => {
                into.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Sets the host protection of a page-aligned range. `protection` without `PROT_READ` is for guests that run in
    /// place: the tender does not look at such pages afterwards.
    pub fn protect(&mut self, range: Range<u64>, protection: i32) -> Result<()> {
        let length = range.end - range.start;
        let pointer = self.pointer(range.start, length).ok_or_else(|| {
            Failure::new(format!(
                "Segment at 0x{:x} lies outside guest memory",
                range.start
            ))
        })?;
        // SAFETY: the range is inside our own mapping, and no reference into it is held.
        if unsafe { libc::mprotect(pointer.cast(), length as usize, protection) } != 0 {
            return Err(Failure::last(format!(
                "Could not protect guest memory at 0x{:x}",
                range.start
            )));
        }
        if protection & libc::PROT_WRITE == 0 {
            self.read_only.push(range);
        }
        Ok(())
    }
}

fn map(at: usize, size: u64, protection: i32, flags: i32) -> io::Result<usize> {
    let length = usize::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: an anonymous mapping, either where the kernel likes or (NOREPLACE) where nothing is mapped.
    let mapped = unsafe { libc::mmap(at as *mut libc::c_void, length, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if size <= SMALL_GUEST {
        // SAFETY: advice on the mapping made above. A kernel without huge pages says EINVAL, which is as good.
        unsafe { libc::madvise(mapped, length, libc::MADV_NOHUGEPAGE) };
    }
    Ok(mapped as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked_without_overflow() {
        let mut memory = GuestMemory::anywhere(4 * PAGE).unwrap();
        assert!(memory.contains(0, 4 * PAGE) && !memory.contains(1, 4 * PAGE));
        assert!(!memory.contains(u64::MAX, 2) && !memory.contains(4 * PAGE + 1, 0));
        memory.protect(PAGE..2 * PAGE, libc::PROT_READ).unwrap();
        assert!(memory.is_writable(0, PAGE) && !memory.is_writable(0, PAGE + 1));
        assert!(memory.is_writable(2 * PAGE, PAGE) && !memory.is_writable(PAGE, 1));
        assert!(!memory.write(PAGE + 8, b"x"));
        assert!(memory.write(0, b"abc"));
        assert_eq!(memory.read::<3>(0), Some(*b"abc"));
    }
}
