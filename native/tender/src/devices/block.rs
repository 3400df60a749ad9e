//! Block devices: a regular file or a block device, opened for reading and writing.

use super::{Block, file_kind, inherited_fd, stat};
use crate::failure::{Failure, Result};
use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};

pub const DEFAULT_BLOCK_SIZE: u16 = 512;

/// Parses `--block-sector-size`: a power of two from 512 to 32768.
pub fn block_size(text: &str) -> Result<u16> {
    match text.parse::<u16>() {
        Ok(size) if size >= 512 && size.is_power_of_two() => Ok(size),
        _ => Err(Failure::new(
            "Block size must be a multiple of 2 greater than or equal 512",
        )),
    }
}

/// Opens a path, or takes the descriptor of `@N`.
pub fn open(spec: &str) -> Result<RawFd> {
    let refused = |error: &io::Error| Failure::system(format!("Could not open block device: {spec}"), error);
    let fd = match spec.strip_prefix('@') {
        Some(number) => {
            let fd = inherited_fd(number)?;
            // SAFETY: reads the open file's flags; no memory is passed.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
            if flags < 0 || flags & libc::O_ACCMODE != libc::O_RDWR || flags & libc::O_PATH != 0 {
                return Err(refused(&io::Error::from_raw_os_error(libc::EACCES)));
            }
            fd
        }
        None => File::options()
            .read(true)
            .write(true)
            .open(spec)
            .map_err(|error| refused(&error))?
            .into_raw_fd(),
    };
    let stat = stat(fd).map_err(|error| refused(&error))?;
    match file_kind(&stat) {
        libc::S_IFREG | libc::S_IFBLK => Ok(fd),
        _ => Err(Failure::new(format!(
            "Could not open block device: {spec}: Not a file or block device"
        ))),
    }
}

/// Checks the size of what was opened. `name` is the device's.
pub fn attach(name: &str, fd: RawFd, block_size: u16) -> Result<Block> {
    // The end by lseek, since fstat says 0 for a block device. pread and pwrite do not use the offset.
    // SAFETY: moves the offset of a descriptor that is ours; no memory is passed.
    let end = unsafe { libc::lseek(fd, 0, libc::SEEK_END) };
    let Ok(capacity) = u64::try_from(end) else {
        return Err(Failure::last(format!(
            "{name}: Could not determine the size of the backing storage"
        )));
    };
    if capacity % u64::from(block_size) != 0 {
        return Err(Failure::new(format!(
            "{name}: Backing storage size must be block aligned ({block_size} bytes)"
        )));
    }
    if capacity == 0 {
        return Err(Failure::new(format!(
            "{name}: Backing storage must be at least 1 block ({block_size} bytes) in size"
        )));
    }
    Ok(Block {
        fd,
        capacity,
        block_size,
    })
}

#[cfg(test)]
mod tests {
    use super::block_size;

    #[test]
    fn block_sizes_are_powers_of_two_from_512_to_32768() {
        for good in ["512", "4096", "32768"] {
            assert!(block_size(good).is_ok(), "{good}");
        }
        for bad in ["0", "256", "521", "65536", "", "-512", "512 ", "4096x"] {
            assert!(block_size(bad).is_err(), "{bad}");
        }
    }
}
