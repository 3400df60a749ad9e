//! Reads a tar stream: POSIX ustar and pax, GNU long names, star's base-256 numbers. Nothing is trusted: every number is
//! checked, every allocation bounded, a damaged stream is an error that names the entry. Interpretation follows Go's
//! archive/tar, by which practically all layers are written and read.

use super::arguments::Limits;
use super::name::shown;
use crate::error::{Error, Result};
use std::io::{BufRead, ErrorKind};

mod header;
mod pax;

use header::Header;
use pax::Extended;

pub const BLOCK: usize = 512;
/// Of one entry's pax records, or one GNU long name.
const MAX_EXTENSION_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// Seconds since the epoch, and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As in the stream: not yet proved to stay anywhere.
    pub name: Vec<u8>,
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Bytes of content; 0 for all but files.
    pub size: u64,
    /// Target of a link, as in the stream.
    pub link: Vec<u8>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Names and values.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar stream. `next` and `content` are called in turn.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    /// Content of the current entry that has not been read, and the padding after it.
    content_left: u64,
    padding: u64,
    /// What has been used of the limits.
    pub entries: u64,
    pub bytes: u64,
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R, limits: Limits) -> Reader<R> {
        Reader {
            input,
            limits,
            content_left: 0,
            padding: 0,
            entries: 0,
            bytes: 0,
        }
    }

    /// The next entry, or None at the end of the archive. Content of the entry before that was not read is skipped.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        self.content(|_| Ok(()))?;
        let mut extended = Extended::default();
        let (mut long_name, mut long_link) = (None, None);
        let mut is_extended = false;
        while let Some(block) = self.block()? {
            self.spend_entries(1)?;
            let header = Header::decode(&block)?;
            match header.kind {
                b'x' => {
                    extended = Extended::decode(&self.extension(&header)?)
                        .map_err(|reason| header.invalid(&reason))?
                }
                b'L' => long_name = Some(string(self.extension(&header)?)),
                b'K' => long_link = Some(string(self.extension(&header)?)),
                // Global records (git writes one with a comment) and volume labels describe no entry.
                b'g' | b'V' => self.skip(&header)?,
                _ => {
                    let entry = header.entry(extended, long_name, long_link)?;
                    self.begin(&entry)?;
                    return Ok(Some(entry));
                }
            }
            is_extended |= matches!(header.kind, b'x' | b'L' | b'K');
        }
        if is_extended {
            return Err(truncated());
        }
        Ok(None)
    }

    /// Hands what is left of the current entry's content to `sink`, in pieces.
    pub fn content(&mut self, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while self.content_left > 0 {
            let left = usize::try_from(self.content_left).unwrap_or(usize::MAX);
            let piece = fill(&mut self.input)?;
            let piece = &piece[..piece.len().min(left)];
            if piece.is_empty() {
                return Err(truncated());
            }
            sink(piece)?;
            let length = piece.len();
            self.input.consume(length);
            self.content_left -= length as u64;
        }
        while self.padding > 0 {
            let length = fill(&mut self.input)?.len().min(self.padding as usize);
            // The last padding may be missing: some writers end the stream with the content.
            if length == 0 {
                self.padding = 0;
            }
            self.input.consume(length);
            self.padding -= length as u64;
        }
        Ok(())
    }

    /// Reads what follows the end of the archive, so that its writer is not cut off; it must keep within the limit of content.
    pub fn drain(&mut self) -> Result<()> {
        let counted = self.bytes;
        loop {
            let length = fill(&mut self.input)?.len();
            if length == 0 {
                self.bytes = counted;
                return Ok(());
            }
            self.input.consume(length);
            self.spend_bytes(length as u64)?;
        }
    }

    /// Counts entries, of the stream or made on its behalf.
    pub fn spend_entries(&mut self, count: u64) -> Result<()> {
        self.entries = self.entries.saturating_add(count);
        if self.entries <= self.limits.max_entries {
            return Ok(());
        }
        Err(Error::new(
            "image-unsafe",
            format!("the layer has more than {} entries", self.limits.max_entries),
        ))
    }

    /// Counts bytes that the stream makes the disk hold.
    pub fn spend_bytes(&mut self, count: u64) -> Result<()> {
        self.bytes = self.bytes.saturating_add(count);
        if self.bytes <= self.limits.max_bytes {
            return Ok(());
        }
        Err(Error::new(
            "image-unsafe",
            format!(
                "the layer has more than {} bytes of content",
                self.limits.max_bytes
            ),
        ))
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let xattrs: usize = entry
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.spend_bytes(entry.size.saturating_add(xattrs as u64))
            .map_err(|error| Error {
                message: format!("{}: {}", shown(&entry.name), error.message),
                ..error
            })?;
        self.expect(entry.size);
        Ok(())
    }

    fn expect(&mut self, size: u64) {
        self.content_left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The content of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.size()?;
        if size > MAX_EXTENSION_BYTES {
            return Err(Error::new(
                "image-unsafe",
                format!("an extended header of {size} bytes, more than {MAX_EXTENSION_BYTES}"),
            ));
        }
        self.expect(size);
        let mut bytes = Vec::new();
        self.content(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn skip(&mut self, header: &Header) -> Result<()> {
        let size = header.size()?;
        self.spend_bytes(size)?;
        self.expect(size);
        self.content(|_| Ok(()))
    }

    /// The next header; None at a block of zeros or at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let piece = fill(&mut self.input)?;
            let length = piece.len().min(BLOCK - filled);
            if length == 0 {
                return if filled == 0 { Ok(None) } else { Err(truncated()) };
            }
            block[filled..filled + length].copy_from_slice(&piece[..length]);
            self.input.consume(length);
            filled += length;
        }
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }
}

/// What the input holds; empty at its end.
fn fill<R: BufRead>(input: &mut R) -> Result<&[u8]> {
    // Asked twice, since a borrow from within the loop could not be returned.
    while let Err(error) = input.fill_buf() {
        if error.kind() != ErrorKind::Interrupted {
            return Err(Error::system("cannot read the layer", error).with_code("program-failed"));
        }
    }
    input
        .fill_buf()
        .map_err(|error| Error::system("cannot read the layer", error).with_code("program-failed"))
}

/// A GNU long name ends at its first NUL.
fn string(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

fn truncated() -> Error {
    Error::new(
        "image-invalid",
        "the layer's tar stream ends in the middle of an entry",
    )
}
