//! Block devices: exactly one aligned block an operation.

use crate::notes::Kind;
use crate::{Error, abi, manifest};

#[derive(Clone, Copy)]
pub struct Block {
    #[cfg_attr(feature = "spt", allow(dead_code))]
    pub(crate) handle: u64,
    #[cfg_attr(feature = "hvt", allow(dead_code))]
    pub(crate) fd: u64,
    /// Bytes.
    pub capacity: u64,
    pub block_size: u64,
}

impl Block {
    pub fn acquire(name: &str) -> Option<Block> {
        let (handle, entry) = manifest::find(name, Kind::Block)?;
        let (capacity, rest) = entry.properties.split_first_chunk::<8>()?;
        let (block_size, _) = rest.split_first_chunk::<2>()?;
        Some(Block {
            handle,
            fd: u64::from(entry.host_fd as u32),
            capacity: u64::from_le_bytes(*capacity),
            block_size: u64::from(u16::from_le_bytes(*block_size)),
        })
    }

    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        self.check(offset, into.len())?;
        abi::block_read(self, offset, into)
    }

    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check(offset, bytes.len())?;
        abi::block_write(self, offset, bytes)
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), Error> {
        let fits = length as u64 == self.block_size
            && offset.is_multiple_of(self.block_size)
            && offset <= self.capacity - self.block_size;
        if fits { Ok(()) } else { Err(Error::Invalid) }
    }
}
