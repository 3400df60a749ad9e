//! Where the segments of an executable go in guest memory, and whether they may.

use super::Invalid;
use super::header::{PT_LOAD, ProgramHeader};
use crate::memory::{IMAGE_BASE, PAGE};

const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;

/// One loaded segment. `start..end` is page aligned and has the protection; the file's bytes go to `address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub file_offset: u64,
    pub file_size: u64,
    pub address: u64,
    pub start: u64,
    pub end: u64,
    pub readable: bool,
    pub writable: bool,
    pub executable: bool,
}

/// A checked image: segments ascending, none overlapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub entry: u64,
    pub segments: Vec<Segment>,
    /// End of the last segment with bytes in the file. Memory that only exists in memory (`.bss`) may follow.
    pub kernel_end: u64,
}

pub fn place(entry: u64, headers: &[ProgramHeader], memory_size: u64) -> Result<Placement, Invalid> {
    if !(IMAGE_BASE..memory_size).contains(&entry) {
        return Err(Invalid::rule(format!(
            "entry point 0x{entry:x} is outside guest memory"
        )));
    }
    let mut segments = Vec::new();
    let mut kernel_end = 0;
    // Skipped before any check: official executables hold segments of size 0 at address 0 (an empty .tdata).
    for header in headers
        .iter()
        .filter(|header| header.kind == PT_LOAD && header.file_size != 0)
    {
        let segment = segment(header, memory_size)
            .and_then(|segment| match segment.start >= kernel_end {
                true => Ok(segment),
                false => Err("overlaps or precedes the segment before it"),
            })
            .map_err(|why| Invalid::rule(format!("segment at 0x{:x} {why}", header.address)))?;
        kernel_end = segment.end;
        segments.push(segment);
    }
    Ok(Placement {
        entry,
        segments,
        kernel_end,
    })
}

fn segment(header: &ProgramHeader, memory_size: u64) -> Result<Segment, &'static str> {
    let beyond = "does not fit in guest memory";
    if !header.align.is_power_of_two() {
        return Err("has an alignment that is not a power of two");
    }
    let mask = header.align - 1;
    let start = header.address & !mask;
    if header.address < IMAGE_BASE || start < IMAGE_BASE {
        return Err("lies below 0x100000");
    }
    if header.memory_size < header.file_size {
        return Err("is smaller in memory than in the file");
    }
    let file_end = header.address.checked_add(header.file_size).ok_or(beyond)?;
    let memory_end = header.address.checked_add(header.memory_size).ok_or(beyond)?;
    let end = memory_end.checked_add(mask).ok_or(beyond)? & !mask;
    if header.address >= memory_size || file_end > memory_size || end > memory_size {
        return Err(beyond);
    }
    if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) {
        return Err("is not aligned to pages");
    }
    if header.flags & WRITE != 0 && header.flags & EXECUTE != 0 {
        return Err("requests WRITE and EXEC permissions");
    }
    Ok(Segment {
        file_offset: header.offset,
        file_size: header.file_size,
        address: header.address,
        start,
        end,
        readable: header.flags & READ != 0,
        writable: header.flags & WRITE != 0,
        executable: header.flags & EXECUTE != 0,
    })
}
