//! `directory`, `file` and `open`: what lies in the state directory, and host files opened for the program.

use crate::error::{Context, Error, Result};
use crate::plan::{Directory, File, Open};
use crate::session::Session;
use rustix::fs::{Mode, OFlags};

pub fn make_directory(step: &Directory, session: &mut Session) -> Result<()> {
    session.dir.make_directory(&step.at, step.mode)
}

pub fn write_file(step: &File, session: &mut Session) -> Result<()> {
    session.dir.write_file(&step.at, &step.content.0, step.mode)
}

/// Opens without waiting for anyone (a FIFO has no other end yet) and without becoming owner of a terminal.
pub fn open(step: &Open, session: &mut Session) -> Result<()> {
    let access = if step.write { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = rustix::fs::open(step.path.as_str(), flags, Mode::empty())
        .or_system(|| format!("cannot open {}", step.path))?;
    // Only the opening is not to block; the program gets the file as it would open it.
    rustix::fs::fcntl_setfl(&fd, access).or_system(|| format!("cannot open {}", step.path))?;
    if session.fds.insert(step.name.clone(), fd).is_some() {
        return Err(Error::step(format!("two descriptors are named {}", step.name)));
    }
    Ok(())
}

/// Files go with the state directory; descriptors with us.
pub fn undo(session: &mut Session) -> Result<()> {
    session.fds.clear();
    Ok(())
}
