//! What `overlay` and `copy` share: the opened layers and the place where their tree will be.

use crate::error::{Context, Error, Result};
use crate::path::StatePath;
use crate::plan::Layers;
use crate::session::Session;
use crate::state_dir::StateDir;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

pub struct Opened {
    /// Topmost first.
    pub lowers: Vec<OwnedFd>,
    pub target: OwnedFd,
}

/// Layers that one tree can have: the kernel's page of mount options holds that many.
const MAX_LAYERS: usize = 128;

pub fn open(step: &Layers, session: &Session) -> Result<Opened> {
    if step.lowers.is_empty() || step.lowers.len() > MAX_LAYERS {
        return Err(Error::step(format!(
            "{} layers given; 1 to {MAX_LAYERS} can be used",
            step.lowers.len()
        )));
    }
    let lowers = step
        .lowers
        .iter()
        .map(|lower| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::open(lower.as_str(), flags, Mode::empty())
                .or_system(|| format!("cannot open the layer {lower}"))
        })
        .collect::<Result<Vec<OwnedFd>>>()?;
    let target = make_and_open(&session.dir, &step.at, 0o755)?;
    Ok(Opened { lowers, target })
}

/// Makes a directory of the state directory, its parents too, and opens it.
pub fn make_and_open(dir: &StateDir, at: &StatePath, mode: u32) -> Result<OwnedFd> {
    if let Some((above, _)) = at.as_str().rsplit_once('/') {
        make_and_open(
            dir,
            &StatePath::try_from(above.to_string()).map_err(Error::bad_request)?,
            0o700,
        )?;
    }
    dir.make_directory(at, mode)?;
    open_existing(dir, at)?.ok_or_else(|| Error::step(format!("{}/{at} vanished", dir.path().display())))
}

pub fn open_existing(dir: &StateDir, at: &StatePath) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(dir.fd(), at.as_str(), flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::system(
            format!("cannot open {}/{at}", dir.path().display()),
            error,
        )),
    }
}

/// The root directory of the tree is the topmost layer's, not one of ours.
pub fn copy_owner(lowers: &[OwnedFd], to: &OwnedFd) -> Result<()> {
    use rustix::fs::{Gid, Uid};
    let what = || "cannot give the tree its owner and mode";
    let Some(top) = lowers.first() else { return Ok(()) };
    let stat = rustix::fs::fstat(top).or_system(what)?;
    rustix::fs::fchown(
        to,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
    .or_system(what)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).or_system(what)
}
