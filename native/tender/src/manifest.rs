//! The application manifest (MFT1): which devices the guest declares, and the same bytes with what was attached.

use crate::devices::Device;

pub const VERSION: u32 = 1;
/// Entries of the table, the reserved first one included.
pub const MAX_ENTRIES: usize = 64;
pub const ENTRY_SIZE: usize = 104;
pub const HEADER_SIZE: usize = 8;
const NAME_SIZE: usize = 68;
const RESERVED_FIRST: u32 = 0x4000_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Block,
    Net,
}

impl Kind {
    /// The name that Solo5's tools and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Block => "BLOCK_BASIC",
            Kind::Net => "NET_BASIC",
        }
    }

    fn code(self) -> u32 {
        match self {
            Kind::Block => 1,
            Kind::Net => 2,
        }
    }
}

/// A declared device. Its handle is its place in [`Manifest::devices`] plus one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1–67 ASCII letters and digits.
    pub name: String,
    pub kind: Kind,
}

/// The declared devices, at most 63.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    pub devices: Vec<Entry>,
}

impl Manifest {
    /// Reads the content of a manifest note. `None` for any violation of its rules: Solo5 has one text for all.
    pub fn decode(bytes: &[u8]) -> Option<Manifest> {
        let (header, table) = bytes.split_at_checked(HEADER_SIZE)?;
        let (version, count) = (u32_at(header, 0)?, u32_at(header, 4)? as usize);
        if version != VERSION || !(1..=MAX_ENTRIES).contains(&count) || table.len() != count * ENTRY_SIZE {
            return None;
        }
        let mut entries = table.chunks_exact(ENTRY_SIZE);
        let first = entries.next()?;
        if u32_at(first, NAME_SIZE)? != RESERVED_FIRST || first[0] != 0 || first[96] != 0 {
            return None;
        }
        let devices = entries.map(entry).collect::<Option<Vec<_>>>()?;
        Some(Manifest { devices })
    }

    /// Handle and entry of the device of that name and kind.
    pub fn find(&self, name: &str, kind: Kind) -> Option<usize> {
        self.devices
            .iter()
            .position(|entry| entry.name == name && entry.kind == kind)
    }

    /// Size in bytes of [`Manifest::encode`]'s answer.
    pub fn encoded_size(&self) -> usize {
        HEADER_SIZE + ENTRY_SIZE * (1 + self.devices.len())
    }

    /// The table for the guest. `attached` has one device for each entry. `host_fds` says whether the guest is told
    /// the descriptors' numbers: it needs them where it makes the system calls itself.
    pub fn encode(&self, attached: &[Device], host_fds: bool) -> Vec<u8> {
        let mut bytes = vec![0; self.encoded_size()];
        put(&mut bytes, 0, &VERSION.to_ne_bytes());
        put(&mut bytes, 4, &(1 + self.devices.len() as u32).to_ne_bytes());
        put(&mut bytes, HEADER_SIZE + NAME_SIZE, &RESERVED_FIRST.to_ne_bytes());
        for (index, (entry, device)) in self.devices.iter().zip(attached).enumerate() {
            let at = HEADER_SIZE + ENTRY_SIZE * (1 + index);
            put(&mut bytes, at, entry.name.as_bytes());
            put(&mut bytes, at + NAME_SIZE, &entry.kind.code().to_ne_bytes());
            match device {
                Device::Block(block) => {
                    put(&mut bytes, at + 72, &block.capacity.to_ne_bytes());
                    put(&mut bytes, at + 80, &block.block_size.to_ne_bytes());
                }
                Device::Net(net) => {
                    put(&mut bytes, at + 72, &net.mac);
                    put(&mut bytes, at + 78, &net.mtu.to_ne_bytes());
                }
            }
            if host_fds {
                put(&mut bytes, at + 88, &device.fd().to_ne_bytes());
            }
            bytes[at + 96] = 1;
        }
        bytes
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let length = bytes[..NAME_SIZE].iter().position(|&byte| byte == 0)?;
    let name = &bytes[..length];
    // Solo5's own generator writes nothing else, and the name ends up in messages.
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) || bytes[96] != 0 {
        return None;
    }
    let kind = match u32_at(bytes, NAME_SIZE)? {
        1 => Kind::Block,
        2 => Kind::Net,
        _ => return None,
    };
    Some(Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        kind,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
