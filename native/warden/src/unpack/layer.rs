//! Carries out a layer's entries, in the format that overlayfs wants of a lower directory: a hidden name is a character device
//! 0:0, a directory that hides everything below it has `trusted.overlay.opaque=y`; the markers of the OCI format are never made.

use super::arguments::Limits;
use super::lower::{copy_description, hides_below, nearest, open_beneath};
use super::name::{Meaning, clean, meaning, shown, split};
use super::reader::{Entry, Kind, Reader, Time};
use super::tree::{Found, PENDING_COST, Tree, clear, failure, find, open_directory, set_opaque};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, fstat, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat, openat, statat, symlinkat,
    utimensat,
};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::BufRead;

/// Memory for directories whose times or descriptions are set at the end.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Headers in the stream, and parents made for them.
    pub entries: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The layer hides everything below its root. Overlayfs has no mark for that: the layers below must be left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
}

/// Unpacks a tar stream into an empty directory, which is empty again after an error. A directory that is not empty is
/// refused and left alone. A directory that is on the way to an entry and has none itself is as in `lowers`, the layers below, the topmost
/// first; where they have none, 0755 and root's.
pub fn unpack(input: impl BufRead, root: &OwnedFd, lowers: &[OwnedFd], limits: Limits) -> Result<Summary> {
    let mut tree = Tree::new(root.as_fd())?;
    if !lowers.is_empty() {
        let inode = fstat(root)
            .map_err(|error| failure("cannot open the root of", b".", error))?
            .st_ino;
        tree.implied = Some(BTreeMap::from([(inode, Vec::new())]));
    }
    let layer = Layer {
        tree,
        pending: Vec::new(),
        pending_bytes: 0,
        opaque: false,
    };
    layer.fill(Reader::new(input, limits), lowers).inspect_err(|_| {
        // The first failure is the one to tell; what cannot be removed is the caller's to remove.
        let _ = clear(root.as_fd());
    })
}

struct Layer {
    tree: Tree,
    /// Directories' times: whatever is made in them later would change them again.
    pending: Vec<(Vec<u8>, Time)>,
    pending_bytes: usize,
    opaque: bool,
}

impl Layer {
    fn fill<R: BufRead>(mut self, mut reader: Reader<R>, lowers: &[OwnedFd]) -> Result<Summary> {
        while let Some(entry) = reader.next()? {
            let made = self.tree.made;
            self.apply(&entry, &mut reader)?;
            reader.spend_entries(self.tree.made - made)?;
            self.limit_memory()?;
        }
        reader.drain()?;
        // A layer that hides all below has nothing from there.
        if !self.opaque {
            self.inherit(lowers, &mut reader)?;
        }
        self.finish()?;
        Ok(Summary {
            entries: reader.entries,
            bytes: reader.bytes,
            opaque: self.opaque,
        })
    }

    fn apply<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let path = clean(&entry.name)?;
        match meaning(&path)? {
            Meaning::Skip => Ok(()),
            Meaning::Opaque => self.hide_below(&path),
            Meaning::Whiteout(hidden) => self.hide(&path, hidden),
            Meaning::Entry if path.is_empty() => self.describe_root(entry),
            Meaning::Entry if entry.kind == Kind::File => self.make_file(&path, entry, reader),
            Meaning::Entry => self.make(&path, entry),
        }
    }

    /// The entry for the layer's root: its owner, mode and times.
    fn describe_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::new("image-invalid", "the layer's root is not a directory"));
        }
        let root = self.tree.root();
        self.tree
            .declare(root.as_fd())
            .map_err(|error| failure("cannot describe", b".", error))?;
        describe(root.as_fd(), entry).map_err(|error| failure("cannot describe", b".", error))?;
        self.remember(b"", entry.mtime);
        Ok(())
    }

    /// `.wh..wh..opq`
    fn hide_below(&mut self, path: &[u8]) -> Result<()> {
        let failed = |error| failure("cannot carry out the whiteout", path, error);
        if split(path).0.is_empty() {
            self.opaque = true;
            return Ok(());
        }
        let parent = self.tree.parent(path)?;
        set_opaque(open_directory(parent.as_fd(), b".").map_err(failed)?.as_fd()).map_err(failed)
    }

    /// `.wh.NAME`: hides the name in the layers below, never what this layer itself has there.
    fn hide(&mut self, path: &[u8], hidden: &[u8]) -> Result<()> {
        let failed = |error| failure("cannot carry out the whiteout", path, error);
        let parent = self.tree.parent(path)?;
        match find(parent.as_fd(), hidden).map_err(failed)? {
            Found::Nothing => make_whiteout(parent.as_fd(), hidden).map_err(failed),
            Found::Directory => {
                set_opaque(open_directory(parent.as_fd(), hidden).map_err(failed)?.as_fd()).map_err(failed)
            }
            Found::Whiteout | Found::Other => Ok(()),
        }
    }

    fn make_file<R: BufRead>(&mut self, path: &[u8], entry: &Entry, reader: &mut Reader<R>) -> Result<()> {
        let failed = |error| failure("cannot write", path, error);
        let parent = self.tree.parent(path)?;
        let base = split(path).1;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let file = match openat(&parent, base, flags, mode) {
            Err(Errno::EXIST) => {
                self.make_room(parent.as_fd(), path)?;
                openat(&parent, base, flags, mode)
            }
            other => other,
        };
        let file = file.map_err(failed)?;
        reader.content(|mut piece| {
            while !piece.is_empty() {
                let written = rustix::io::write(&file, piece).map_err(failed)?;
                piece = &piece[written..];
            }
            Ok(())
        })?;
        if (entry.uid, entry.gid) != (0, 0) {
            fchown(&file, owner(entry).0, owner(entry).1).map_err(failed)?;
        }
        if entry.mode & 0o7000 != 0 {
            fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(failed)?;
        }
        // After the owner, whose change takes file capabilities away.
        set_xattrs(entry, |name, value| {
            fsetxattr(&file, name, value, XattrFlags::empty())
        })
        .map_err(|error| failure("cannot set the attributes of", path, error))?;
        futimens(&file, &times(entry.mtime)).map_err(failed)
    }

    fn make(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let failed = |error| failure("cannot make", path, error);
        let parent = self.tree.parent(path)?;
        match entry.kind {
            Kind::File => return Ok(()),
            Kind::Directory => return self.make_directory(parent.as_fd(), path, entry),
            Kind::HardLink => return self.make_link(path, entry),
            Kind::Symlink if entry.link.is_empty() || entry.link.contains(&0) => {
                return Err(Error::new(
                    "image-invalid",
                    format!("the symbolic link {} has no target", shown(path)),
                ));
            }
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {}
        }
        let base = split(path).1;
        let is_whiteout = entry.kind == Kind::CharDevice && entry.device == (0, 0);
        if is_whiteout {
            return self.hide(path, base);
        }
        self.make_room(parent.as_fd(), path)?;
        if entry.kind == Kind::Symlink {
            symlinkat(entry.link.as_slice(), &parent, base).map_err(failed)?;
        } else {
            let kind = match entry.kind {
                Kind::CharDevice => FileType::CharacterDevice,
                Kind::BlockDevice => FileType::BlockDevice,
                _ => FileType::Fifo,
            };
            let number = makedev(entry.device.0, entry.device.1);
            mknodat(
                &parent,
                base,
                kind,
                Mode::from_raw_mode(entry.mode & 0o777),
                number,
            )
            .map_err(failed)?;
        }
        chownat(
            &parent,
            base,
            owner(entry).0,
            owner(entry).1,
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed)?;
        if entry.kind != Kind::Symlink && entry.mode & 0o7000 != 0 {
            // Not a symbolic link: it was made above, and nobody else is here to replace it.
            rustix::fs::chmodat(&parent, base, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(failed)?;
        }
        // Only paths reach the attributes of what cannot be opened; the working directory makes them short.
        rustix::process::fchdir(open_directory(parent.as_fd(), b".").map_err(failed)?).map_err(failed)?;
        set_xattrs(entry, |name, value| {
            lsetxattr(base, name, value, XattrFlags::empty())
        })
        .map_err(|error| failure("cannot set the attributes of", path, error))?;
        utimensat(&parent, base, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    /// A directory that is there already keeps its content and gets the later description.
    fn make_directory(&mut self, parent: BorrowedFd, path: &[u8], entry: &Entry) -> Result<()> {
        let failed = |error| failure("cannot make the directory", path, error);
        let base = split(path).1;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let mut found = Found::Nothing;
        if let Err(error) = mkdirat(parent, base, mode) {
            found = if error == Errno::EXIST {
                find(parent, base).map_err(failed)?
            } else {
                return Err(failed(error));
            };
            if found != Found::Directory {
                self.tree.remove(parent, base, found).map_err(failed)?;
                mkdirat(parent, base, mode).map_err(failed)?;
            }
        }
        let directory = open_directory(parent, base).map_err(failed)?;
        if found == Found::Whiteout {
            set_opaque(directory.as_fd()).map_err(failed)?;
        }
        self.tree.declare(directory.as_fd()).map_err(failed)?;
        describe(directory.as_fd(), entry).map_err(failed)?;
        self.remember(path, entry.mtime);
        Ok(())
    }

    /// A hard link to an earlier entry of this layer; to a symbolic link itself, never to what that leads to.
    fn make_link(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let refused = |code, reason: &str| {
            Error::new(
                code,
                format!("the hard link {} to {} {reason}", shown(path), shown(&entry.link)),
            )
        };
        let failed = |error| failure("cannot make the hard link", path, error);
        let target = clean(&entry.link)
            .map_err(|error| refused(error.code, &format!("is refused: {}", error.message)))?;
        if target.is_empty() || meaning(&target).ok() != Some(Meaning::Entry) {
            return Err(refused("image-invalid", "is no link to a file"));
        }
        let from = self
            .tree
            .existing_parent(&target)
            .map_err(|error| refused(error.code, &format!("is refused: {}", error.message)))?;
        let from_base = split(&target).1;
        match find(from.as_fd(), from_base).map_err(failed)? {
            Found::Other => {}
            Found::Nothing => {
                return Err(refused(
                    "image-invalid",
                    "comes before its target, or has none in this layer",
                ));
            }
            Found::Whiteout | Found::Directory => {
                return Err(refused("image-invalid", "is no link to a file"));
            }
        }
        let parent = self.tree.parent(path)?;
        let base = split(path).1;
        let identity = |at: BorrowedFd, name: &[u8]| {
            statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| (stat.st_dev, stat.st_ino))
        };
        // Twice the same link: removing the older would remove its target.
        if identity(parent.as_fd(), base) == identity(from.as_fd(), from_base) {
            return Ok(());
        }
        if find(parent.as_fd(), base).map_err(failed)? == Found::Directory {
            return Err(refused("image-invalid", "would replace a directory"));
        }
        self.make_room(parent.as_fd(), path)?;
        linkat(&from, from_base, &parent, base, AtFlags::empty()).map_err(failed)
    }

    /// The later of two entries wins.
    fn make_room(&mut self, parent: BorrowedFd, path: &[u8]) -> Result<()> {
        let failed = |error| failure("cannot replace", path, error);
        let base = split(path).1;
        let found = find(parent, base).map_err(failed)?;
        self.tree.remove(parent, base, found).map_err(failed)
    }

    fn remember(&mut self, path: &[u8], mtime: Time) {
        self.pending_bytes += path.len() + PENDING_COST;
        self.pending.push((path.to_vec(), mtime));
    }

    fn limit_memory(&self) -> Result<()> {
        if self.pending_bytes + self.tree.implied_bytes <= MAX_PENDING_BYTES {
            return Ok(());
        }
        Err(Error::new(
            "image-unsafe",
            "the layer's directories have more than 64 MiB of names",
        ))
    }

    /// Makes the directories that no entry has described what they are in the layers below: overlayfs shows ours in their place. Only at the
    /// end is it known which they are, and what this layer hides.
    fn inherit<R: BufRead>(&mut self, lowers: &[OwnedFd], reader: &mut Reader<R>) -> Result<()> {
        let root = self.tree.root();
        for (inode, path) in self.tree.implied.take().into_iter().flatten() {
            let failed = |error| failure("cannot describe", &path, error);
            // What was replaced later is no directory any more, another one, or gone with one of its parents.
            let Ok(directory) = open_beneath(root.as_fd(), &path) else {
                continue;
            };
            if fstat(&directory).map_err(failed)?.st_ino != inode
                || hides_below(root.as_fd(), &path).map_err(failed)?
            {
                continue;
            }
            let Some(lower) = nearest(lowers, &path).map_err(failed)? else {
                continue;
            };
            reader.spend_bytes(copy_description(&lower, &directory, is_kept).map_err(failed)?)?;
            let stat = fstat(&lower).map_err(failed)?;
            let mtime = Time {
                seconds: stat.st_mtime,
                nanoseconds: stat.st_mtime_nsec as u32,
            };
            futimens(&directory, &times(mtime)).map_err(failed)?;
        }
        Ok(())
    }

    /// Sets the directories' times.
    fn finish(&mut self) -> Result<()> {
        for (path, mtime) in std::mem::take(&mut self.pending) {
            // What was replaced later is no directory any more, or gone with one of its parents.
            let Ok(parent) = self.tree.existing_parent(&path) else {
                continue;
            };
            let base = if path.is_empty() { b"." } else { split(&path).1 };
            if find(parent.as_fd(), base) == Ok(Found::Directory) {
                utimensat(&parent, base, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| failure("cannot set the times of", &path, error))?;
            }
        }
        Ok(())
    }
}

fn make_whiteout(parent: BorrowedFd, name: &[u8]) -> std::result::Result<(), Errno> {
    mknodat(
        parent,
        name,
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )
}

/// Owner, mode and attributes of an opened directory.
fn describe(directory: BorrowedFd, entry: &Entry) -> std::result::Result<(), Errno> {
    fchown(directory, owner(entry).0, owner(entry).1)?;
    fchmod(directory, Mode::from_raw_mode(entry.mode))?;
    set_xattrs(entry, |name, value| {
        fsetxattr(directory, name, value, XattrFlags::empty())
    })
}

/// Whether an attribute means the same on every host. Labels of a security module are the host's business, and overlayfs' own
/// would let an image redirect names; both are left out.
fn is_kept(name: &[u8]) -> bool {
    let is_overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let is_portable = name == b"security.capability"
        || name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name.starts_with(b"system.posix_acl_");
    is_portable && !is_overlay
}

fn set_xattrs(
    entry: &Entry,
    set: impl Fn(&[u8], &[u8]) -> std::result::Result<(), Errno>,
) -> std::result::Result<(), Errno> {
    for (name, value) in &entry.xattrs {
        if !is_kept(name) {
            continue;
        }
        match set(name, value) {
            // Symbolic links and devices cannot have `user.*`; some file systems have no ACLs.
            Err(Errno::PERM | Errno::OPNOTSUPP) if name != b"security.capability" => {}
            other => other?,
        }
    }
    Ok(())
}

fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// The access time too: unpacking twice gives the same.
fn times(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
