//! A minimal Solo5 executable, made field by field so that a test can break one.

pub const PT_LOAD: u32 = 1;
pub const PT_NOTE: u32 = 4;
pub const ABI_TARGET: usize = NOTES + 20;
pub const MANIFEST_NOTE: usize = NOTES + 64;
pub const MANIFEST: usize = MANIFEST_NOTE + 24;
/// Where the notes begin in the file.
pub const NOTES: usize = 0x400;
pub const HEADERS: usize = 64;

#[derive(Clone, Copy)]
pub struct Header {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
    pub memory_size: u64,
    pub align: u64,
}

pub struct Elf {
    pub bytes: Vec<u8>,
    pub headers: Vec<Header>,
}

fn load(flags: u32, address: u64, file_size: u64, memory_size: u64) -> Header {
    Header {
        kind: PT_LOAD,
        flags,
        offset: 0x1000,
        address,
        file_size,
        memory_size,
        align: 0x1000,
    }
}

fn note(offset: usize, size: u64) -> Header {
    Header {
        kind: PT_NOTE,
        flags: 4,
        offset: offset as u64,
        address: 0,
        file_size: size,
        memory_size: size,
        align: 4,
    }
}

/// A valid one for spt: code, data, an empty segment at 0, two notes, one network device `service0`.
pub fn valid() -> Elf {
    let mut bytes = vec![0; 0x3000];
    bytes[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let mut elf = Elf {
        bytes,
        headers: vec![
            load(5, 0x10_0000, 0x800, 0x800),
            load(6, 0x10_1000, 0x10, 0x2000),
            Header {
                align: 0,
                ..load(7, 0, 0, 0)
            },
            note(NOTES, 36),
            note(MANIFEST_NOTE, 20 + 4 + 8 + 104 * 2),
        ],
    };
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    elf.put(16, &2_u16.to_le_bytes());
    elf.put(18, &machine.to_le_bytes());
    elf.put(20, &1_u32.to_le_bytes());
    elf.put(24, &0x10_0000_u64.to_le_bytes());
    elf.put(32, &(HEADERS as u64).to_le_bytes());
    for (at, value) in [(52, 64_u16), (54, 56), (56, 5)] {
        elf.put(at, &value.to_le_bytes());
    }
    elf.note_head(NOTES, 16, 0x3149_4241);
    elf.put(ABI_TARGET, &2_u32.to_le_bytes());
    elf.put(ABI_TARGET + 4, &2_u32.to_le_bytes());
    elf.note_head(MANIFEST_NOTE, 4 + 8 + 104 * 2, 0x3154_464d);
    elf.put(MANIFEST, &1_u32.to_le_bytes());
    elf.put(MANIFEST + 4, &2_u32.to_le_bytes());
    elf.put(MANIFEST + 8 + 68, &0x4000_0000_u32.to_le_bytes());
    elf.put(MANIFEST + 8 + 104, b"service0");
    elf.put(MANIFEST + 8 + 104 + 68, &2_u32.to_le_bytes());
    elf
}

impl Elf {
    pub fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    fn note_head(&mut self, at: usize, size: u32, kind: u32) {
        for (index, value) in [6, size, kind].into_iter().enumerate() {
            self.put(at + 4 * index, &value.to_le_bytes());
        }
        self.put(at + 12, b"Solo5\0\0\0");
    }

    /// The file.
    pub fn build(mut self) -> Vec<u8> {
        for (index, header) in self.headers.clone().into_iter().enumerate() {
            let at = HEADERS + 56 * index;
            self.put(at, &header.kind.to_le_bytes());
            self.put(at + 4, &header.flags.to_le_bytes());
            let Header {
                offset,
                address,
                file_size,
                memory_size,
                align,
                ..
            } = header;
            for (place, value) in [offset, address, address, file_size, memory_size, align]
                .into_iter()
                .enumerate()
            {
                self.put(at + 8 + 8 * place, &value.to_le_bytes());
            }
        }
        self.bytes
    }
}
