//! `rootfs`: the file systems that an engine says make up a root file system, mounted at its place: on the host, where the engine and its tools look for
//! it, and with us.

use super::unmount::{at_host, flags_of};
use crate::error::{Context, Error, Result};
use crate::path::HostPath;
use crate::plan::{HostMount, Rootfs};
use crate::session::Session;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What the kernel takes besides flags, bytes: one page, with the end of the text.
const MAX_DATA: usize = 4095;
/// How many file systems are taken away from one place.
const MAX_MOUNTS: usize = 64;

pub fn execute(step: &Rootfs, session: &mut Session) -> Result<()> {
    if step.mounts.len() > MAX_MOUNTS {
        return Err(Error::step(format!(
            "{} are to be mounted at {}, at most {MAX_MOUNTS} can be",
            step.mounts.len(),
            step.at
        )));
    }
    let copy = at_host(session, || {
        for mount in &step.mounts {
            mount_at(mount, &step.at)?;
        }
        open_tree(&step.at)
    })?;
    // Where the host's mounts reach us it is there already.
    if same_file(&open(&step.at)?, &copy)? {
        return Ok(());
    }
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(copy.as_fd(), "", rustix::fs::CWD, step.at.as_str(), flags)
        .or_system(|| format!("cannot mount {} for the sandbox", step.at))
}

fn mount_at(mount: &HostMount, at: &HostPath) -> Result<()> {
    let what = || format!("cannot mount {} ({}) at {at}", mount.source, mount.kind);
    let words = mount.options.join(",");
    let bind = mount.kind == "bind" || mount.options.iter().any(|word| word == "bind" || word == "rbind");
    if bind {
        let mut flags = MountFlags::BIND;
        if !mount.options.iter().any(|word| word == "bind") {
            flags |= MountFlags::REC;
        }
        rustix::mount::mount(mount.source.as_str(), at.as_str(), "", flags, None).or_system(what)?;
        let more = flags_of(&words);
        if more.is_empty() {
            return Ok(());
        }
        return rustix::mount::mount_remount(at.as_str(), MountFlags::BIND | more, "").or_system(what);
    }
    let data: Vec<&str> = mount
        .options
        .iter()
        .map(String::as_str)
        .filter(|word| flags_of(word).is_empty() && *word != "rw")
        .collect();
    let data = data.join(",");
    if data.len() > MAX_DATA {
        return Err(Error::step(format!(
            "{}: its options are {} bytes long, the kernel takes {MAX_DATA}",
            what(),
            data.len()
        )));
    }
    let data = CString::new(data).map_err(|_| Error::step(format!("{}: a NUL in its options", what())))?;
    rustix::mount::mount(
        mount.source.as_str(),
        at.as_str(),
        mount.kind.as_str(),
        flags_of(&words),
        data.as_c_str(),
    )
    .or_system(what)
}

fn open_tree(at: &HostPath) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(rustix::fs::CWD, at.as_str(), flags).or_system(|| format!("cannot look at {at}"))
}

fn open(at: &HostPath) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(at.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .or_system(|| format!("cannot open {at}"))
}

fn same_file(one: &OwnedFd, other: &OwnedFd) -> Result<bool> {
    let look = |fd| rustix::fs::fstat(fd).or_system(|| "cannot look at the root file system");
    let (one, other) = (look(one)?, look(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Takes everything away that is mounted at the place, with us and on the host. Nothing there is no error.
pub fn undo(at: &HostPath, session: &mut Session) -> Result<()> {
    clear(at)?;
    at_host(session, || clear(at))
}

fn clear(at: &HostPath) -> Result<()> {
    for _ in 0..=MAX_MOUNTS {
        match rustix::mount::unmount(at.as_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(Error::system(format!("cannot unmount {at}"), error)),
        }
    }
    Ok(())
}
