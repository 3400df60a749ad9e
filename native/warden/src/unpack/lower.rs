//! The layers below the one that is unpacked: what they say of a directory that this layer implies without an entry of its own.

use super::tree::{LIST, OPAQUE, parts_of};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Gid, Mode, ResolveFlags, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat,
    openat, openat2,
};
use rustix::io::Errno;

type Io<T> = std::result::Result<T, Errno>;

/// The kernel's limits for the list of attributes and for a value.
const MAX_XATTR_BYTES: usize = 64 * 1024;

/// The directory at `path` as the layers below show it, of the topmost that has it. None if none has it, or something that is no
/// directory, or a mark of overlayfs, hides it.
pub fn nearest(lowers: &[OwnedFd], path: &[u8]) -> Io<Option<OwnedFd>> {
    for lower in lowers {
        match open_beneath(lower.as_fd(), path) {
            Ok(directory) => return Ok(Some(directory)),
            Err(Errno::NOENT) if !hides_below(lower.as_fd(), path)? => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Opens the directory at `path`, without any symbolic link on the way.
pub fn open_beneath(layer: BorrowedFd, path: &[u8]) -> Io<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    openat2(layer, path, LIST, Mode::empty(), beneath)
}

/// Whether the directory at `path`, or one on the way to it as far as there is one, shows nothing of the layers below.
pub fn hides_below(layer: BorrowedFd, path: &[u8]) -> Io<bool> {
    let mut at = openat(layer, ".", LIST, Mode::empty())?;
    for part in parts_of(path) {
        at = match openat(&at, part, LIST, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            next => next?,
        };
        if fgetxattr(&at, OPAQUE, &mut [0; 1]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives a directory the owner, mode and attributes of another. Returns the bytes of the attributes' values.
pub fn copy_description(from: &OwnedFd, to: &OwnedFd, is_kept: impl Fn(&[u8]) -> bool) -> Io<u64> {
    let stat = fstat(from)?;
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(to, Some(owner.0), Some(owner.1))?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let mut names = vec![0; MAX_XATTR_BYTES];
    let length = match flistxattr(from, names.as_mut_slice()) {
        // A file system without attributes.
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let (mut value, mut bytes) = (vec![0; MAX_XATTR_BYTES], 0);
    for name in names[..length].split(|byte| *byte == 0) {
        if name.is_empty() || !is_kept(name) {
            continue;
        }
        let length = fgetxattr(from, name, value.as_mut_slice())?;
        fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
        bytes += length as u64;
    }
    Ok(bytes)
}
