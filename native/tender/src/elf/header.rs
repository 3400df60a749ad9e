//! The ELF header and the program headers.

use super::{Invalid, ReadAt, field, fill};

const HEADER_SIZE: u16 = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;
/// Solo5's linker scripts make about ten; a bound keeps a hostile file from making us read megabytes of them.
const MAX_PROGRAM_HEADERS: u16 = 128;
const TYPE_EXECUTABLE: u16 = 2;

#[cfg(target_arch = "x86_64")]
pub const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
pub const MACHINE: u16 = 183;

pub const PT_LOAD: u32 = 1;
pub const PT_NOTE: u32 = 4;

pub struct Header {
    pub entry: u64,
    pub headers: Vec<ProgramHeader>,
}

#[derive(Debug, Clone, Copy)]
pub struct ProgramHeader {
    pub kind: u32,
    pub flags: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size: u64,
    pub memory_size: u64,
    pub align: u64,
}

pub fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Header, Invalid> {
    let bytes: [u8; HEADER_SIZE as usize] = super::read(file, 0, "ELF header")?;
    let checks = [
        (bytes[..4] == *b"\x7fELF", "not an ELF file"),
        (bytes[4] == 2, "not a 64-bit ELF file"),
        (bytes[5] == 1, "not little-endian"),
        (
            bytes[6] == 1 && field!(bytes, 20, u32) == 1,
            "unknown ELF version",
        ),
        (
            field!(bytes, 16, u16) == TYPE_EXECUTABLE,
            "not a statically linked executable (ET_EXEC)",
        ),
        (
            field!(bytes, 18, u16) == MACHINE,
            "built for another machine than this one",
        ),
        (field!(bytes, 52, u16) == HEADER_SIZE, "ELF header size is not 64"),
        (
            field!(bytes, 54, u16) == PROGRAM_HEADER_SIZE,
            "program header size is not 56",
        ),
    ];
    if let Some((_, broken)) = checks.iter().find(|(holds, _)| !holds) {
        return Err(Invalid::rule(*broken));
    }
    let count = field!(bytes, 56, u16);
    if !(1..=MAX_PROGRAM_HEADERS).contains(&count) {
        return Err(Invalid::rule(format!(
            "{count} program headers, must be 1 to {MAX_PROGRAM_HEADERS}"
        )));
    }
    let mut table = vec![0; usize::from(count) * usize::from(PROGRAM_HEADER_SIZE)];
    fill(file, field!(bytes, 32, u64), &mut table, "program header table")?;
    let headers = table
        .chunks_exact(usize::from(PROGRAM_HEADER_SIZE))
        .map(program_header)
        .collect();
    Ok(Header {
        entry: field!(bytes, 24, u64),
        headers,
    })
}

fn program_header(bytes: &[u8]) -> ProgramHeader {
    ProgramHeader {
        kind: field!(bytes, 0, u32),
        flags: field!(bytes, 4, u32),
        offset: field!(bytes, 8, u64),
        address: field!(bytes, 16, u64),
        file_size: field!(bytes, 32, u64),
        memory_size: field!(bytes, 40, u64),
        align: field!(bytes, 48, u64),
    }
}
