//! The devices that a manifest declares and options attach.

pub mod block;
pub mod net;
mod tap;

use crate::failure::{Failure, Result};
use std::os::fd::RawFd;

/// A device as the guest sees it. Its descriptor stays open as long as the tender lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Block(Block),
    Net(Net),
}

/// A file or block device. `capacity` is a multiple of `block_size`; both in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub fd: RawFd,
    pub capacity: u64,
    pub block_size: u16,
}

/// Something that takes and gives one Ethernet frame a system call; non-blocking. `mtu` leaves out the Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    pub fd: RawFd,
    pub mac: [u8; 6],
    pub mtu: u16,
}

impl Device {
    pub fn fd(&self) -> RawFd {
        match self {
            Device::Block(block) => block.fd,
            Device::Net(net) => net.fd,
        }
    }
}

/// The number of a descriptor given as `@N`: 3 or more and open. 0, 1 and 2 are the console's.
pub fn inherited_fd(text: &str) -> Result<RawFd> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let fd = match text.parse::<RawFd>() {
        Ok(fd) if digits && fd > 2 => fd,
        _ => {
            return Err(Failure::new(format!(
                "'@{text}' does not name a file descriptor above 2"
            )));
        }
    };
    // SAFETY: asks only whether the number is open; no memory is passed.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(Failure::last(format!("File descriptor {fd}")));
    }
    Ok(fd)
}

/// Metadata of an open descriptor.
fn stat(fd: RawFd) -> std::io::Result<libc::stat> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `stat` is room for one libc::stat, which the call fills where it succeeds.
    unsafe {
        match libc::fstat(fd, stat.as_mut_ptr()) {
            0 => Ok(stat.assume_init()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

fn file_kind(stat: &libc::stat) -> libc::mode_t {
    stat.st_mode & libc::S_IFMT
}
