//! What both ABIs put in front of the guest: the command line, and the image loaded into its memory.

use crate::devices::Device;
use crate::elf::{Placement, ReadAt};
use crate::failure::{Failure, Result};
use crate::manifest::Manifest;
use crate::memory::GuestMemory;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Bytes of the area for the guest's command line, the closing NUL included.
pub const COMMAND_LINE_SIZE: usize = 8192;

/// All that a guest is started with.
pub struct Launch<'a> {
    /// The executable's name in messages.
    pub name: &'a str,
    pub file: &'a dyn ReadAt,
    pub placement: &'a Placement,
    pub manifest: &'a Manifest,
    /// One device for each entry of the manifest.
    pub devices: &'a [Device],
    /// With the closing NUL.
    pub command_line: &'a [u8],
    /// Bytes; a multiple of 1 MiB.
    pub memory_size: u64,
    /// Makes heap and stack executable (`--x-exec-heap`).
    pub executable_heap: bool,
    /// Where our starter waits for a line before it takes the guest for started.
    pub ready: Option<RawFd>,
}

impl Launch<'_> {
    /// Says that all is ready and lets go of the descriptor: the guest never has it. The last of the tender's own work before its filter.
    pub fn say_ready(&self) -> Result<()> {
        let Some(fd) = self.ready else { return Ok(()) };
        // SAFETY: open, and given to us for this alone.
        let mut file = unsafe { File::from_raw_fd(fd) };
        file.write_all(b"ready\n")
            .map_err(|error| Failure::system("Could not say that the guest is ready", &error))
    }
}

/// The arguments after KERNEL joined by single spaces, with the closing NUL.
pub fn command_line(args: &[OsString]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
    let mut line = parts.join(&b' ');
    if line.len() >= COMMAND_LINE_SIZE {
        return Err(Failure::new(format!(
            "Guest command line too long (max={} characters)",
            COMMAND_LINE_SIZE - 1
        )));
    }
    line.push(0);
    Ok(line)
}

/// Reads every segment's bytes from the file to its place. What follows them up to the segment's size in memory is
/// zero already: the mapping is fresh and segments do not overlap.
pub fn load(name: &str, file: &dyn ReadAt, placement: &Placement, memory: &mut GuestMemory) -> Result<()> {
    for segment in &placement.segments {
        let into = memory
            .bytes_mut(segment.address, segment.file_size)
            .ok_or_else(|| {
                Failure::new(format!(
                    "{name}: segment at 0x{:x} lies outside guest memory",
                    segment.address
                ))
            })?;
        file.read_exact_at(segment.file_offset, into)
            .map_err(|error| Failure::system(format!("{name}: Could not read"), &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_joined_by_spaces_and_limited() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(command_line(&args(&[])).unwrap(), b"\0");
        assert_eq!(command_line(&args(&["a", "b c", ""])).unwrap(), b"a b c \0");
        assert!(command_line(&args(&["x".repeat(8191).as_str()])).is_ok());
        let refused = command_line(&args(&["x".repeat(8192).as_str()])).unwrap_err();
        assert_eq!(refused.0, "Guest command line too long (max=8191 characters)");
    }
}
