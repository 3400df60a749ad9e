//! The notes that make an ELF file a Solo5 executable: ABI1 and MFT1.
//!
//! A note sits alone in its PT_NOTE: header (12 bytes), the name `Solo5` padded to 8, the descriptor from byte 20.
//! The content begins at 20 rounded up to its alignment, and that padding counts in the descriptor's size.

use super::header::{PT_NOTE, ProgramHeader};
use super::{Invalid, ReadAt, field, fill, read};
use crate::manifest::{ENTRY_SIZE, HEADER_SIZE, MAX_ENTRIES, Manifest};

const NAME: [u8; 8] = *b"Solo5\0\0\0";
const NAME_SIZE: u32 = 6;
const DESCRIPTOR_AT: u64 = 20;
const ABI1: u32 = 0x3149_4241;
const MFT1: u32 = 0x3154_464d;
const ABI_SIZE: usize = 16;
const MANIFEST_SIZE_MAX: usize = 4 + HEADER_SIZE + ENTRY_SIZE * MAX_ENTRIES;
/// The manifest's content is aligned to 8, so 4 of the descriptor's bytes are padding.
const MANIFEST_PADDING: usize = 4;

/// The ABI an executable is made for; in both, version 2 is the one that exists today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Hvt,
    Spt,
}

const SUPPORTED_VERSION: u32 = 2;

/// Reads the ABI note and refuses what this tender cannot run.
pub fn target<R: ReadAt + ?Sized>(file: &R, headers: &[ProgramHeader]) -> Result<Target, Invalid> {
    let missing = || Invalid::Refused("No Solo5 ABI information found in executable".into());
    let (start, size) = find(file, headers, ABI1, ABI_SIZE)?.ok_or_else(missing)?;
    if size != ABI_SIZE {
        return Err(Invalid::rule("note does not fall within valid size"));
    }
    let content: [u8; ABI_SIZE] = read(file, start, "ABI note")?;
    let target = match field!(content, 0, u32) {
        1 => Target::Hvt,
        2 => Target::Spt,
        other => {
            return Err(Invalid::Refused(format!(
                "Executable is not for the solo5-hvt target, nor for the solo5-spt target (it is for {})",
                target_name(other)
            )));
        }
    };
    match field!(content, 4, u32) {
        SUPPORTED_VERSION => Ok(target),
        version => Err(Invalid::Refused(format!(
            "Executable requests unsupported ABI version {version}"
        ))),
    }
}

/// Reads the manifest note.
pub fn manifest<R: ReadAt + ?Sized>(file: &R, headers: &[ProgramHeader]) -> Result<Manifest, Invalid> {
    let missing = || Invalid::Refused("No Solo5 manifest found in executable".into());
    let (start, size) = find(file, headers, MFT1, MANIFEST_SIZE_MAX)?.ok_or_else(missing)?;
    let mut descriptor = vec![0; size];
    fill(file, start, &mut descriptor, "manifest note")?;
    descriptor
        .get(MANIFEST_PADDING..)
        .and_then(Manifest::decode)
        .ok_or_else(|| Invalid::Refused("Solo5 manifest is invalid".into()))
}

/// Offset in the file and size of the descriptor of the first note of that kind.
fn find<R: ReadAt + ?Sized>(
    file: &R,
    headers: &[ProgramHeader],
    kind: u32,
    max: usize,
) -> Result<Option<(u64, usize)>, Invalid> {
    for header in headers.iter().filter(|header| header.kind == PT_NOTE) {
        if header.file_size < 12 {
            return Err(Invalid::rule("note segment is shorter than a note's header"));
        }
        if header.file_size < DESCRIPTOR_AT {
            continue;
        }
        let note: [u8; DESCRIPTOR_AT as usize] = read(file, header.offset, "note")?;
        let matches =
            field!(note, 0, u32) == NAME_SIZE && field!(note, 8, u32) == kind && note[12..20] == NAME;
        if !matches {
            continue;
        }
        let size = field!(note, 4, u32) as usize;
        if !(1..=max).contains(&size) || header.file_size < DESCRIPTOR_AT + size as u64 {
            return Err(Invalid::rule("note does not fall within valid size"));
        }
        let start = header.offset.checked_add(DESCRIPTOR_AT);
        return Ok(Some((
            start.ok_or_else(|| Invalid::rule("note lies beyond the end of the file"))?,
            size,
        )));
    }
    Ok(None)
}

fn target_name(target: u32) -> String {
    match target {
        3 => "virtio".into(),
        4 => "muen".into(),
        5 => "genode".into(),
        6 => "xen".into(),
        other => format!("unknown target {other}"),
    }
}
