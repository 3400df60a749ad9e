//! What a network leaves in the sandbox's state directory, for DEL after a crash.

use super::list::List;
use crate::error::{Context, Error, Result};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

/// The last result of a finished plugin.
const RESULT: &str = "network.json";
/// The list of the plugins whose ADD has begun: a copy of the operator's, which may have changed by the time of DEL.
const LIST: &str = "network.list";
const ASIDE: &str = "network.new";
/// Standard output of the plugin that runs: a file, so that it survives the warden.
const OUTPUT: &str = "network.out";
const LOCK: &str = "network.lock";
/// Longer is no result.
const MAX_RESULT_BYTES: u64 = 1024 * 1024;
/// How long DEL waits for plugins that a killed warden left running.
const PLUGIN_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Record<'a> {
    dir: BorrowedFd<'a>,
    /// Given to every plugin: whoever holds the lock of this open file is a plugin or its child.
    pub lock: OwnedFd,
}

impl<'a> Record<'a> {
    /// Whether an ADD was begun and not yet taken back: the lock is made before the first plugin runs and removed after the last.
    pub fn is_there(dir: BorrowedFd) -> bool {
        statat(dir, LOCK, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Begins an ADD with the list of no plugins. The list is there before the lock.
    pub fn begin(dir: BorrowedFd<'a>, list: &Value) -> Result<Record<'a>> {
        replace(dir, LIST, list)?;
        Record::open(dir)
    }

    pub fn open(dir: BorrowedFd<'a>) -> Result<Record<'a>> {
        let lock = create(dir, LOCK, OFlags::empty())?;
        // Taken by nobody but a plugin of a killed warden, for which `wait_for_plugins` waits.
        let _ = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok(Record { dir, lock })
    }

    /// Waits until no plugin of an earlier warden runs any more; after 10 s goes on, so that a hung plugin does not keep its
    /// sandbox for ever.
    pub fn wait_for_plugins(&self) {
        // A file system without locks has nothing to wait for.
        let _ = super::exec::take(&self.lock, PLUGIN_WAIT);
    }

    /// A fresh file for a plugin's standard output.
    pub fn output(&self) -> Result<File> {
        Ok(File::from(create(self.dir, OUTPUT, OFlags::TRUNC)?))
    }

    /// Keeps the result of a plugin that has finished; its output is no longer needed.
    pub fn keep(&self, result: &Value) -> Result<()> {
        replace(self.dir, RESULT, result)?;
        self.unlink(OUTPUT)
    }

    /// Keeps the list of the plugins whose ADD has begun.
    pub fn keep_list(&self, list: &Value) -> Result<()> {
        replace(self.dir, LIST, list)
    }

    /// The list that ADD has kept. None if a warden that kept none has made the network.
    pub fn list(&self) -> Result<Option<List>> {
        match open_to_read(self.dir, LIST) {
            Err(Errno::NOENT) => Ok(None),
            file => {
                let file = file.or_system(|| format!("cannot open {LIST} in the state directory"))?;
                List::from_file(file, &format!("{LIST} in the state directory")).map(Some)
            }
        }
    }

    /// The newest result there is: of the plugin that a killed warden had just run, or of the last one finished.
    pub fn last(&self) -> Option<Value> {
        let is_result = |value: &Value| value.is_object() && value.get("code").is_none();
        self.read(OUTPUT)
            .filter(is_result)
            .or_else(|| self.read(RESULT).filter(is_result))
    }

    /// Removes everything that a network leaves. Until the lock is gone, DEL may be called again and needs the list.
    pub fn remove(self) -> Result<()> {
        [OUTPUT, ASIDE, RESULT, LOCK, LIST]
            .into_iter()
            .try_for_each(|name| self.unlink(name))
    }

    /// Removes the output of a plugin that said nothing worth keeping.
    pub fn forget_output(&self) -> Result<()> {
        self.unlink(OUTPUT)
    }

    fn read(&self, name: &str) -> Option<Value> {
        read_bounded(open_to_read(self.dir, name).ok()?)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    fn unlink(&self, name: &str) -> Result<()> {
        match unlinkat(self.dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => other.or_system(|| format!("cannot remove {name} from the state directory")),
        }
    }
}

fn open_to_read(dir: BorrowedFd, name: &str) -> std::result::Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::empty()).map(File::from)
}

/// Writes a file whole or not at all.
fn replace(dir: BorrowedFd, name: &str, value: &Value) -> Result<()> {
    let failed = || format!("cannot write {name} into the state directory");
    let mut file = File::from(create(dir, ASIDE, OFlags::TRUNC)?);
    file.write_all(value.to_string().as_bytes()).or_system(failed)?;
    renameat(dir, ASIDE, dir, name).or_system(failed)
}

/// All of a file, if it is small enough.
pub(super) fn read_bounded(file: File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_RESULT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_RESULT_BYTES {
        return Err(std::io::Error::other("more than 1 MiB"));
    }
    Ok(bytes)
}

fn create(dir: BorrowedFd, name: &str, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Error::system(format!("cannot write {name} into the state directory"), error))
}
