//! Network devices: one Ethernet frame an operation.

use crate::notes::Kind;
use crate::{Error, abi, manifest};

#[derive(Clone, Copy)]
pub struct Net {
    /// Its bit in [`crate::yield_until`]'s answer.
    pub handle: u64,
    #[cfg_attr(feature = "hvt", allow(dead_code))]
    pub(crate) fd: u64,
    pub mac: [u8; 6],
    /// Without the Ethernet header.
    pub mtu: u16,
}

impl Net {
    pub fn acquire(name: &str) -> Option<Net> {
        let (handle, entry) = manifest::find(name, Kind::Net)?;
        let (mac, rest) = entry.properties.split_first_chunk::<6>()?;
        let (mtu, _) = rest.split_first_chunk::<2>()?;
        Some(Net {
            handle,
            fd: u64::from(entry.host_fd as u32),
            mac: *mac,
            mtu: u16::from_le_bytes(*mtu),
        })
    }

    /// The length of the frame read, or `Again` where there is none.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Error> {
        abi::net_read(self, into)
    }

    pub fn write(&self, frame: &[u8]) -> Result<(), Error> {
        abi::net_write(self, frame)
    }
}
