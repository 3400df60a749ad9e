//! The directory that a layer becomes: paths are resolved beneath its root, missing parents made, older entries
//! of the same name replaced.

use super::name::{shown, split};
use crate::error::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags, fsetxattr, fstat, mkdirat, openat,
    openat2, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Symbolic links on the way to one entry, as the kernel counts them.
const MAX_LINKS: usize = 40;
/// What an element of a list that waits for the layer's end itself costs, roughly.
pub const PENDING_COST: usize = 64;
pub const OPAQUE: &str = "trusted.overlay.opaque";
const SEARCH: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
pub const LIST: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What stands at a name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// A character device 0:0: overlayfs' mark for a name that is hidden in the layers below.
    Whiteout,
    Directory,
    Other,
}

pub struct Tree {
    root: Rc<OwnedFd>,
    /// The parent of the last entry: entries of one directory follow each other.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Directories made because an entry's parents were missing.
    pub made: u64,
    /// Those of them that no entry has described: their places, by inode. Kept only if somebody asks for them.
    pub implied: Option<BTreeMap<u64, Vec<u8>>>,
    /// What the list of them has cost, roughly.
    pub implied_bytes: usize,
}

impl Tree {
    /// `root` must be an empty directory.
    pub fn new(root: BorrowedFd) -> Result<Tree> {
        let failed = |error| failure("cannot open the root of", b".", error);
        let root = openat(root, ".", LIST, Mode::empty()).map_err(failed)?;
        let mut names = Dir::read_from(&root).map_err(failed)?;
        if names.any(|name| !name.is_ok_and(|name| is_dot(name.file_name().to_bytes()))) {
            return Err(Error::new("usage", "the directory to unpack into must be empty"));
        }
        Ok(Tree {
            root: Rc::new(root),
            last: None,
            made: 0,
            implied: None,
            implied_bytes: 0,
        })
    }

    pub fn root(&self) -> Rc<OwnedFd> {
        self.root.clone()
    }

    /// The directory that holds `path`, made where it is missing.
    pub fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        let (parent, _) = split(path);
        if let Some((known, fd)) = &self.last
            && known == parent
        {
            return Ok(fd.clone());
        }
        let fd = match self.open_plain(parent) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => self.walk(parent, path, true)?,
            Err(error) => return Err(failure("cannot open the parent of", path, error)),
        };
        let fd = Rc::new(fd);
        self.last = Some((parent.to_vec(), fd.clone()));
        Ok(fd)
    }

    /// As `parent`, but makes nothing.
    pub fn existing_parent(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let (parent, _) = split(path);
        match self.open_plain(parent) {
            Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => self.walk(parent, path, false),
            other => other.map_err(|error| failure("cannot open the parent of", path, error)),
        }
    }

    /// The usual case: no symbolic link on the way.
    fn open_plain(&self, directory: &[u8]) -> std::result::Result<OwnedFd, Errno> {
        let directory = if directory.is_empty() { b"." } else { directory };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.root, directory, SEARCH, Mode::empty(), beneath)
    }

    /// Part by part, with symbolic links of this layer followed as they will be in the image, whose root is our root. A link that
    /// climbs above the root, or leads to nothing in this layer, is refused: only an attack writes through one.
    fn walk(&mut self, directory: &[u8], path: &[u8], makes: bool) -> Result<OwnedFd> {
        let reopen = |fd: BorrowedFd| openat(fd, ".", SEARCH, Mode::empty());
        let failed = |error| failure("cannot open the parent of", path, error);
        let escape = |how: &str| {
            Error::new(
                "image-unsafe",
                format!("{} goes through a symbolic link that {how}", shown(path)),
            )
        };
        let mut at = reopen(self.root.as_fd()).map_err(failed)?;
        // The names that lead to it, no links among them.
        let mut place: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        // Each part with whether a link said it.
        let mut parts: VecDeque<(Vec<u8>, bool)> =
            parts_of(directory).map(|part| (part.to_vec(), false)).collect();
        while let Some((part, from_link)) = parts.pop_front() {
            if part == b".." {
                place.pop().ok_or_else(|| escape("leaves the layer"))?;
                at = openat(&at, "..", SEARCH & !OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
                continue;
            }
            match openat(&at, part.as_slice(), SEARCH, Mode::empty()) {
                Ok(next) => {
                    at = next;
                    place.push(part);
                    continue;
                }
                Err(Errno::NOENT) if makes && !from_link => {
                    place.push(part);
                    at = self.make_parent(at.as_fd(), &place, false).map_err(failed)?;
                    continue;
                }
                Err(Errno::NOENT) if from_link => return Err(escape("leads to nothing in this layer")),
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(failed(error)),
            }
            let stat = statat(&at, part.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            if is_whiteout(&stat) && makes {
                unlinkat(&at, part.as_slice(), AtFlags::empty()).map_err(failed)?;
                place.push(part);
                at = self.make_parent(at.as_fd(), &place, true).map_err(failed)?;
                continue;
            }
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Err(Error::new(
                    "image-invalid",
                    format!("{} has a parent that is no directory", shown(path)),
                ));
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(escape("leads to another without end"));
            }
            let target = readlinkat(&at, part.as_slice(), Vec::new())
                .map_err(failed)?
                .into_bytes();
            if target.starts_with(b"/") {
                at = reopen(self.root.as_fd()).map_err(failed)?;
                place.clear();
            }
            for part in parts_of(&target).rev() {
                parts.push_front((part.to_vec(), true));
            }
        }
        Ok(at)
    }

    fn make_parent(
        &mut self,
        at: BorrowedFd,
        place: &[Vec<u8>],
        opaque: bool,
    ) -> std::result::Result<OwnedFd, Errno> {
        let name = place.last().map_or(&b"."[..], Vec::as_slice);
        self.made += 1;
        mkdirat(at, name, Mode::from_raw_mode(0o755))?;
        if opaque {
            set_opaque(openat(at, name, LIST, Mode::empty())?.as_fd())?;
        }
        let made = openat(at, name, SEARCH, Mode::empty())?;
        if let Some(implied) = &mut self.implied {
            let place = place.join(&b'/');
            self.implied_bytes += place.len() + PENDING_COST;
            implied.insert(fstat(&made)?.st_ino, place);
        }
        Ok(made)
    }

    /// Notes that an entry describes a directory.
    pub fn declare(&mut self, directory: BorrowedFd) -> std::result::Result<(), Errno> {
        if let Some(implied) = &mut self.implied {
            implied.remove(&fstat(directory)?.st_ino);
        }
        Ok(())
    }

    /// Removes what stands at a name. Says what it was.
    pub fn remove(
        &mut self,
        parent: BorrowedFd,
        name: &[u8],
        found: Found,
    ) -> std::result::Result<(), Errno> {
        match found {
            Found::Nothing => return Ok(()),
            Found::Whiteout | Found::Other => unlinkat(parent, name, AtFlags::empty())?,
            Found::Directory => {
                clear(openat(parent, name, LIST, Mode::empty())?.as_fd())?;
                unlinkat(parent, name, AtFlags::REMOVEDIR)?;
            }
        }
        // The removed entry may have been on the way to the last parent.
        self.last = None;
        Ok(())
    }
}

/// What stands at a name, links not followed.
pub fn find(parent: BorrowedFd, name: &[u8]) -> std::result::Result<Found, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(Found::Nothing),
        Err(error) => Err(error),
        Ok(stat) if is_whiteout(&stat) => Ok(Found::Whiteout),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(Found::Directory),
        Ok(_) => Ok(Found::Other),
    }
}

/// Marks an opened directory so that overlayfs shows nothing of it from the layers below.
pub fn set_opaque(directory: BorrowedFd) -> std::result::Result<(), Errno> {
    fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Opens a directory entry so that its attributes can be set.
pub fn open_directory(parent: BorrowedFd, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    openat(parent, name, LIST, Mode::empty())
}

/// Empties a directory. Walks down and up again instead of descending by recursion, since hostile trees are deeper than a stack or the number of
/// open files; nothing else moves directories here, so that `..` leads back.
pub fn clear(directory: BorrowedFd) -> std::result::Result<(), Errno> {
    let mut at = openat(directory, ".", LIST, Mode::empty())?;
    let mut depth = 0usize;
    loop {
        match clear_level(&at)? {
            Some(below) => (at, depth) = (below, depth + 1),
            None if depth == 0 => return Ok(()),
            None => (at, depth) = (openat(&at, "..", LIST, Mode::empty())?, depth - 1),
        }
    }
}

/// Removes everything in a directory that can be removed at once; returns the first directory in it that has to be emptied before.
fn clear_level(at: &OwnedFd) -> std::result::Result<Option<OwnedFd>, Errno> {
    for entry in Dir::read_from(at)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dot(name.to_bytes()) {
            continue;
        }
        match unlinkat(at, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => {
                other?;
                continue;
            }
        }
        match unlinkat(at, name, AtFlags::REMOVEDIR) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return openat(at, name, LIST, Mode::empty()).map(Some),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A failed system call on an entry, under the code that says who can mend it.
pub fn failure(what: &str, name: &[u8], error: Errno) -> Error {
    let code = match error {
        Errno::NOSPC | Errno::DQUOT => "disk-full",
        Errno::NAMETOOLONG | Errno::MLINK | Errno::LOOP | Errno::NOTDIR | Errno::NOENT => "image-invalid",
        _ => "state-unwritable",
    };
    Error::system(format!("{what} {}", shown(name)), error).with_code(code)
}

pub fn parts_of(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
}

fn is_dot(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
