//! One sandbox's state directory: everything in it is reached through the directory's own fd, never by a path that
//! someone could bend, and symlinks are never followed.

use crate::error::{Context, Error, Result};
use crate::path::{StatePath, is_id};
use crate::plan::Owner;
use rustix::fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub struct StateDir {
    path: PathBuf,
    id: String,
    parent: OwnedFd,
    dir: OwnedFd,
}

/// Inside a state directory: no symlink, and nothing above it.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

impl StateDir {
    /// Opens `<run>/<namespace>/<id>`. The directory's name is the sandbox's id.
    pub fn open(path: &Path) -> Result<StateDir> {
        let id = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| is_id(name));
        let (Some(id), Some(parent), true) = (id, path.parent(), path.is_absolute()) else {
            return Err(Error::bad_request(format!(
                "{} is not a state directory: it must be absolute and end in a sandbox's id",
                path.display()
            )));
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let open = |dir: BorrowedFd<'_>, name: &Path, flags| {
            rustix::fs::openat(dir, name, flags, Mode::empty())
                .or_system(|| format!("cannot open the state directory {}", path.display()))
        };
        let parent = open(CWD, parent, flags)?;
        let dir = open(parent.as_fd(), Path::new(id), flags | OFlags::NOFOLLOW)?;
        Ok(StateDir {
            path: path.to_path_buf(),
            id: id.to_string(),
            parent,
            dir,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// As it was named on the command line: for messages, and for programs that can take nothing else.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The directory that holds the state directories of a namespace.
    pub fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }

    /// A path of the state directory for a program of ours or an OCI runtime.
    pub fn join(&self, at: &str) -> PathBuf {
        self.path.join(at)
    }

    /// Takes the lock that a living warden holds, waiting at most `patience` for a dying one.
    pub fn lock(&self, patience: Duration) -> Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = rustix::fs::openat(&self.dir, "lock", flags, Mode::RUSR | Mode::WUSR)
            .or_system(|| format!("cannot open {}/lock", self.path.display()))?;
        let end = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::not_allowed(format!(
                        "a living warden holds sandbox {}: ask it by its control socket",
                        self.id
                    )));
                }
                Err(error) => {
                    return Err(Error::system(
                        format!("cannot lock {}/lock", self.path.display()),
                        error,
                    ));
                }
            }
        }
    }

    /// Opens the directory that holds `at`, and its last part.
    fn holder<'a>(&self, at: &'a StatePath) -> Result<(OwnedFd, &'a str)> {
        let (holder, name) = at.as_str().rsplit_once('/').unwrap_or((".", at.as_str()));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat2(&self.dir, holder, flags, Mode::empty(), INSIDE)
            .or_system(|| format!("cannot open {}/{holder}", self.path.display()))?;
        Ok((fd, name))
    }

    /// Makes a directory, or gives one that is there its mode.
    pub fn make_directory(&self, at: &StatePath, mode: u32) -> Result<()> {
        let what = || format!("cannot make the directory {}/{at}", self.path.display());
        let (holder, name) = self.holder(at)?;
        match rustix::fs::mkdirat(&holder, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::system(what(), error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&holder, name, flags, Mode::empty()).or_system(what)?;
        rustix::fs::fchmod(dir, Mode::from_raw_mode(mode & 0o7777)).or_system(what)
    }

    /// Writes a file anew; what stood there before (a symlink, say) is replaced, never written through.
    pub fn write_file(&self, at: &StatePath, content: &[u8], mode: u32, owner: Option<Owner>) -> Result<()> {
        let what = || format!("cannot write {}/{at}", self.path.display());
        let file = self.create_file(at)?;
        write_all(file.as_fd(), content).or_system(what)?;
        if let Some(Owner { uid, gid }) = owner {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).or_system(what)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777)).or_system(what)
    }

    /// A new, empty file, ours alone, in place of what stood there before.
    pub fn create_file(&self, at: &StatePath) -> Result<OwnedFd> {
        self.remove_file(at)?;
        let (holder, name) = self.holder(at)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&holder, name, flags, Mode::from_raw_mode(0o600))
            .or_system(|| format!("cannot write {}/{at}", self.path.display()))
    }

    /// Removes a file, if it is there.
    pub fn remove_file(&self, at: &StatePath) -> Result<()> {
        let (holder, name) = self.holder(at)?;
        match rustix::fs::unlinkat(&holder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::system(
                format!("cannot remove {}/{at}", self.path.display()),
                error,
            )),
        }
    }

    /// Listens on a unix socket at `at`, which every user may connect to who is given it: the directory itself is closed.
    pub fn listen(&self, at: &StatePath) -> Result<OwnedFd> {
        let what = || format!("cannot listen on {}/{at}", self.path.display());
        let (holder, name) = self.holder(at)?;
        crate::unix_socket::listen_in(holder.as_fd(), name, SocketFlags::empty(), 0o111, 1).or_system(what)
    }

    /// Connects to a unix socket at `at`.
    pub fn connect(&self, at: &StatePath) -> Result<OwnedFd> {
        let what = || format!("cannot connect to {}/{at}", self.path.display());
        let (holder, name) = self.holder(at)?;
        crate::unix_socket::connect_in(holder.as_fd(), name, SocketFlags::empty()).or_system(what)
    }

    /// Replaces a file by one that is whole: temporary name, synced, renamed.
    pub fn replace_file(&self, name: &str, content: &[u8]) -> Result<()> {
        let what = || format!("cannot write {}/{name}", self.path.display());
        let temporary = format!(".{name}.new");
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&self.dir, &temporary, flags, Mode::RUSR | Mode::WUSR).or_system(what)?;
        write_all(file.as_fd(), content).or_system(what)?;
        rustix::fs::fdatasync(file).or_system(what)?;
        rustix::fs::renameat(&self.dir, &temporary, &self.dir, name).or_system(what)
    }

    /// Reads a small file of the state directory; `None` where there is none. Longer than `limit` is an error.
    pub fn read_file(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let what = || format!("cannot read {}/{name}", self.path.display());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat2(&self.dir, name, flags, Mode::empty(), INSIDE) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::system(what(), error)),
        };
        read_limited(file.as_fd(), limit).or_system(what).map(Some)
    }
}

/// Writes all of `bytes` to a blocking descriptor.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> std::result::Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads to the end; more than `limit` bytes are `EFBIG`.
pub fn read_limited(fd: BorrowedFd<'_>, limit: usize) -> std::result::Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(0) => return Ok(all),
            Ok(length) if all.len() + length > limit => return Err(Errno::FBIG),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
