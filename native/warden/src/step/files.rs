//! `directory`, `file` and `open`: what lies in the state directory, and host files opened for the program.

use crate::error::{Context, Error, Result as StepResult};
use crate::path::HostPath;
use crate::plan::{Directory, File, Open};
use crate::session::Session;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

pub fn make_directory(step: &Directory, session: &mut Session) -> StepResult<()> {
    session.dir.make_directory(&step.at, step.mode)
}

pub fn write_file(step: &File, session: &mut Session) -> StepResult<()> {
    session
        .dir
        .write_file(&step.at, &step.content.0, step.mode, step.owner)
}

/// Opens without waiting for anyone (a FIFO has no other end yet) and without becoming owner of a terminal.
pub fn open(step: &Open, session: &mut Session) -> StepResult<()> {
    let access = if step.write { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let what = || format!("cannot open {}", step.path);
    let fd = open_host(&step.path, flags, step.nofollow).or_system(what)?;
    let stat = rustix::fs::fstat(&fd).or_system(what)?;
    // What was a file when it was looked at, in a tree that is not ours, may be a device or a FIFO by now.
    if step.nofollow && !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::step(format!("{} is not a regular file", step.path)));
    }
    // Only the opening is not to block; the program gets the file as it would open it.
    rustix::fs::fcntl_setfl(&fd, access).or_system(what)?;
    if session.fds.insert(step.name.clone(), fd).is_some() {
        return Err(Error::step(format!("two descriptors are named {}", step.name)));
    }
    Ok(())
}

/// Opens a path of the host's. With `nofollow` it is one that was resolved before, in a tree that others can change: a symbolic link anywhere on it came
/// in between, and is refused.
pub fn open_host(path: &HostPath, flags: OFlags, nofollow: bool) -> Result<OwnedFd, Errno> {
    let resolve = if nofollow {
        ResolveFlags::NO_SYMLINKS
    } else {
        ResolveFlags::empty()
    };
    rustix::fs::openat2(CWD, path.as_str(), flags, Mode::empty(), resolve)
}

/// Files go with the state directory; descriptors with us.
pub fn undo(session: &mut Session) -> StepResult<()> {
    session.fds.clear();
    Ok(())
}
