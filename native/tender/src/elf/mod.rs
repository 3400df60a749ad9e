//! Reads a Solo5 executable: ELF header, program headers, the ABI and manifest notes, and where its segments go.
//!
//! The file is hostile. Every read has a bound that does not come from the file, every sum is checked, and nothing
//! is loaded before all of it has been checked.

mod header;
mod notes;
mod place;

use crate::manifest::Manifest;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub use notes::Target;
pub use place::{Placement, Segment};

/// Where the bytes of an executable come from.
pub trait ReadAt {
    /// Fills `into` from `offset`, or fails with `UnexpectedEof` where the file ends before.
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        // pread takes a signed offset.
        if offset
            .checked_add(into.len() as u64)
            .is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileExt::read_exact_at(self, into, offset)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| self.get(start..start.checked_add(into.len())?));
        into.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a file is not an executable that can be run.
#[derive(Debug)]
pub enum Invalid {
    /// It breaks a rule of the format.
    Rule(String),
    /// It is no Solo5 executable, or one for something else; the text is Solo5's.
    Refused(String),
    Io(io::Error),
}

impl Invalid {
    pub(crate) fn rule(text: impl Into<String>) -> Invalid {
        Invalid::Rule(text.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Rule(text) => write!(f, "invalid executable: {text}"),
            Invalid::Refused(text) => f.write_str(text),
            Invalid::Io(error) => write!(f, "Could not read: {}", crate::failure::reason(error)),
        }
    }
}

/// An executable whose headers and notes are in order. Whether it fits is for [`Image::place`].
#[derive(Debug)]
pub struct Image {
    pub target: Target,
    pub manifest: Manifest,
    pub entry: u64,
    headers: Vec<header::ProgramHeader>,
}

/// Reads headers and notes.
pub fn inspect<R: ReadAt + ?Sized>(file: &R) -> Result<Image, Invalid> {
    let header::Header { entry, headers } = header::read(file)?;
    let target = notes::target(file, &headers)?;
    let manifest = notes::manifest(file, &headers)?;
    Ok(Image {
        target,
        manifest,
        entry,
        headers,
    })
}

impl Image {
    /// Checks that all of it fits in guest memory `[0x100000, memory_size)` and says what goes where.
    pub fn place(&self, memory_size: u64) -> Result<Placement, Invalid> {
        place::place(self.entry, &self.headers, memory_size)
    }
}

/// Reads up to `N` bytes at a place that the file says, with the format's own text for a file that ends before.
fn read<const N: usize, R: ReadAt + ?Sized>(file: &R, offset: u64, what: &str) -> Result<[u8; N], Invalid> {
    let mut bytes = [0; N];
    fill(file, offset, &mut bytes, what)?;
    Ok(bytes)
}

fn fill<R: ReadAt + ?Sized>(file: &R, offset: u64, into: &mut [u8], what: &str) -> Result<(), Invalid> {
    file.read_exact_at(offset, into)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Invalid::rule(format!("{what} lies beyond the end of the file")),
            _ => Invalid::Io(error),
        })
}

/// Reads a little-endian field; callers pass offsets inside a fixed-size array.
macro_rules! field {
    ($bytes:expr, $at:expr, $kind:ty) => {{
        const SIZE: usize = std::mem::size_of::<$kind>();
        let mut value = [0; SIZE];
        value.copy_from_slice(&$bytes[$at..$at + SIZE]);
        <$kind>::from_le_bytes(value)
    }};
}
pub(crate) use field;
