//! The one place that deletes a tree. It works on descriptors beneath one directory, never follows a symlink, never
//! crosses a mount, and does not care how deep a hostile tree is.

use crate::error::{Context, Error, Result};
use crate::state_dir::StateDir;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Directories deeper than this are moved to the top of the tree first, so that depth costs no descriptors.
const MAX_DEPTH: usize = 32;

/// Removes `name` in `parent` with all beneath it. A missing one is no error; a mount in it is (`EXDEV`).
pub fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<(), Errno> {
    let Some(top) = open_directory(parent, name)? else {
        return Ok(());
    };
    let mut moved = 0;
    while empty(&top, &top, 0, &mut moved)? {}
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Opens a real directory on the same mount, or unlinks whatever else has that name and returns `None`.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> std::result::Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Empties a directory. Returns whether something was moved to `top`, which then needs another walk.
fn empty(top: &OwnedFd, dir: &OwnedFd, depth: usize, moved: &mut u64) -> std::result::Result<bool, Errno> {
    let mut again = false;
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            }
        }
        if depth >= MAX_DEPTH {
            let aside = format!(".deep-{moved}");
            *moved += 1;
            again = true;
            rustix::fs::renameat(dir, name, top, aside)?;
            continue;
        }
        if let Some(child) = open_directory(dir.as_fd(), name)? {
            again |= empty(top, &child, depth + 1, moved)?;
            match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(again)
}

/// The part of `sandbox.json` that the warden knows.
#[derive(Deserialize)]
struct SandboxName {
    name: String,
}

/// Deletes a sandbox's state directory and, if it is this sandbox's, the reservation of its name.
pub fn remove_state(dir: &StateDir) -> Result<()> {
    release_name(dir)?;
    let name = std::ffi::CString::new(dir.id()).map_err(|_| Error::bad_request("an id holds no NUL"))?;
    remove_tree(dir.parent(), &name)
        .or_system(|| format!("cannot remove the state directory {}", dir.path().display()))
}

fn release_name(dir: &StateDir) -> Result<()> {
    let Some(text) = dir.read_file("sandbox.json", 1 << 20)? else {
        return Ok(());
    };
    // An unreadable file reserves no name that we could know.
    let Ok(SandboxName { name }) = serde_json::from_slice(&text) else {
        return Ok(());
    };
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Ok(());
    }
    let path = format!("names/{name}");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let Ok(file) = rustix::fs::openat2(dir.parent(), &path, flags, Mode::empty(), resolve) else {
        return Ok(());
    };
    let holder = crate::state_dir::read_limited(file.as_fd(), 256).unwrap_or_default();
    if String::from_utf8_lossy(&holder).trim() != dir.id() {
        return Ok(());
    }
    match rustix::fs::unlinkat(dir.parent(), &path, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::system(format!("cannot release the name {name}"), error)),
    }
}
