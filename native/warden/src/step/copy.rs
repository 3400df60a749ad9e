//! `copy`: layers as one tree by copying, for hosts without overlayfs. Lowest first; whiteouts (device 0:0) and opaque directories
//! are understood as overlayfs does. Symlinks are copied, never followed.

use super::layers::{self, Opened};
use crate::error::{Context, Result};
use crate::plan::Layers;
use crate::remove::remove_tree;
use crate::session::Session;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

type Io<T> = std::result::Result<T, Errno>;

const OPAQUE: &str = "trusted.overlay.opaque";
/// Deeper trees than this are not copied: every level costs two descriptors.
const MAX_DEPTH: usize = 256;

pub fn execute(step: &Layers, session: &mut Session) -> Result<()> {
    let Opened { lowers, target } = layers::open(step, session)?;
    for (lower, name) in lowers.iter().zip(&step.lowers).rev() {
        let mut copier = Copier {
            root: &target,
            path: Vec::new(),
            links: HashMap::new(),
        };
        copier
            .merge(lower, &target, 0)
            .or_system(|| format!("cannot copy the layer {name}"))?;
    }
    layers::copy_owner(&lowers, &target)
}

/// The copy goes with the state directory.
pub fn undo(_session: &mut Session) -> Result<()> {
    Ok(())
}

/// One layer's copying. Hard links of a layer stay links: its inodes that have several names, and the path of each one's first copy.
/// Paths lead through directories that this very walk has made or opened.
struct Copier<'a> {
    root: &'a OwnedFd,
    /// The directory we are in, parts each followed by `/`.
    path: Vec<u8>,
    links: HashMap<u64, CString>,
}

impl Copier<'_> {
    fn merge(&mut self, from: &OwnedFd, to: &OwnedFd, depth: usize) -> Io<()> {
        if depth > MAX_DEPTH {
            return Err(Errno::LOOP);
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                remove_tree(to.as_fd(), name)?;
            } else if kind == FileType::Directory {
                self.directory(from, to, name, &stat, depth)?;
            } else {
                remove_tree(to.as_fd(), name)?;
                self.other(from, to, name, &stat)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat, depth: usize) -> Io<()> {
        let source = open_directory(from, name)?;
        let is_opaque = rustix::fs::fgetxattr(&source, OPAQUE, &mut [0u8; 1]).is_ok();
        let existing = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_there = existing.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        if is_opaque || !is_there {
            remove_tree(to.as_fd(), name)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
        }
        let target = open_directory(to, name)?;
        let above = self.path.len();
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
        self.merge(&source, &target, depth + 1)?;
        self.path.truncate(above);
        copy_xattrs(source.as_fd(), target.as_fd())?;
        dress(to, name, stat)
    }

    fn other(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Io<()> {
        if let Some(first) = self.links.get(&stat.st_ino) {
            return rustix::fs::linkat(self.root, first.as_c_str(), to, name, AtFlags::empty());
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::RegularFile => copy_file(from, to, name)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
            }
            // A socket is of no use without its listener.
            _ => return Ok(()),
        }
        if stat.st_nlink > 1 {
            let path = [&self.path[..], name.to_bytes()].concat();
            self.links
                .insert(stat.st_ino, CString::new(path).map_err(|_| Errno::INVAL)?);
        }
        dress(to, name, stat)
    }
}

fn open_directory(dir: &OwnedFd, name: &CStr) -> Io<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Io<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let length = rustix::fs::fstat(&source)?.st_size as u64;
    let mut copied = 0;
    while copied < length {
        // In the kernel, and by reference where the file system can.
        match rustix::fs::copy_file_range(&source, None, &target, None, (length - copied) as usize) {
            Ok(0) => break,
            Ok(more) => copied += more as u64,
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if copied == 0 => {
                let mut source = std::fs::File::from(source.try_clone().map_err(io_errno)?);
                let mut target = std::fs::File::from(target.try_clone().map_err(io_errno)?);
                std::io::copy(&mut source, &mut target).map_err(io_errno)?;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    copy_xattrs(source.as_fd(), target.as_fd())
}

fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// All extended attributes but overlayfs's own.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Io<()> {
    let mut names = vec![0u8; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let size = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        rustix::fs::fsetxattr(to, name, &value[..size], XattrFlags::empty())?;
    }
    Ok(())
}

/// Owner, mode and times. The owner first: a change of it takes set-user-id away. xattrs were set before; a change of owner also drops
/// `security.capability`, which is why it is only changed where it differs.
fn dress(dir: &OwnedFd, name: &CStr, stat: &Stat) -> Io<()> {
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    let now = rustix::fs::statat(dir, name, no_follow)?;
    if (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid) {
        let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        rustix::fs::chownat(dir, name, uid, gid, no_follow)?;
    }
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        rustix::fs::chmodat(
            dir,
            name,
            Mode::from_raw_mode(stat.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
    }
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as i64,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as i64,
        },
    };
    rustix::fs::utimensat(dir, name, &times, no_follow)
}
