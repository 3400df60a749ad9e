//! `concat`: files of the host and bytes joined to one file of the state directory, each part on a boundary of 4 bytes.

use super::files::open_host;
use crate::error::{Context, Error, Result};
use crate::path::{HostPath, StatePath};
use crate::plan::{Concat, Part};
use crate::session::Session;
use crate::state_dir::write_all;
use rustix::fs::{FileType, Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a joined file. Linux keeps an initrd in memory twice while it unpacks it; nobody boots from more.
const LIMIT: u64 = 2 << 30;
const ALIGNMENT: u64 = 4;

pub fn execute(step: &Concat, session: &mut Session) -> Result<()> {
    let what = || format!("cannot write {}/{}", session.dir.path().display(), step.at);
    let target = session.dir.create_file(&step.at)?;
    let mut length: u64 = 0;
    for part in &step.parts {
        let gap = length.next_multiple_of(ALIGNMENT) - length;
        write_all(target.as_fd(), &[0; ALIGNMENT as usize][..gap as usize]).or_system(what)?;
        length += gap;
        length += match part {
            Part::Bytes { content } => {
                write_all(target.as_fd(), &content.0).or_system(what)?;
                content.0.len() as u64
            }
            Part::File { from, nofollow } => append(from, *nofollow, &target, LIMIT.saturating_sub(length))?,
        };
        if length > LIMIT {
            return Err(too_long(step));
        }
    }
    rustix::fs::fchmod(target, Mode::from_raw_mode(step.mode & 0o7777)).or_system(what)
}

fn too_long(step: &Concat) -> Error {
    Error::step(format!("{} would be longer than {LIMIT} bytes", step.at))
}

/// Appends a regular file of at most `room` bytes; how many there were. It is not waited for (a FIFO has no other end) and a link is not followed.
fn append(from: &HostPath, nofollow: bool, target: &OwnedFd, room: u64) -> Result<u64> {
    let what = || format!("cannot read {from}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let source = open_host(from, flags, nofollow).or_system(what)?;
    let stat = rustix::fs::fstat(&source).or_system(what)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::step(format!("{from} is not a regular file")));
    }
    let length = stat.st_size as u64;
    if length > room {
        return Err(Error::step(format!(
            "{from} has {length} bytes, {room} are the most that fit"
        )));
    }
    let target = target.try_clone().or_system(what)?;
    // One byte more than it has tells a file that grows from one that is as long as it said.
    let copied = std::io::copy(
        &mut std::io::Read::take(std::fs::File::from(source), length + 1),
        &mut std::fs::File::from(target),
    )
    .or_system(what)?;
    if copied == length {
        Ok(copied)
    } else {
        Err(Error::step(format!("{from} changed while it was read")))
    }
}

/// It may be large and lie in memory (`/run`): it goes with the guest, not with the state directory. Where its directory is gone, so is it.
pub fn undo(at: &StatePath, session: &mut Session) -> Result<()> {
    match session.dir.remove_file(at) {
        Err(error) if error.errno.as_deref() == Some("ENOENT") => Ok(()),
        other => other,
    }
}
