//! What a network leaves in the sandbox's state directory, for DEL after a crash.

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
const RESULT_ASIDE: &str = "network.json.new";
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
    /// Whether an ADD was begun and not yet taken back: the lock is made before the first plugin runs and removed last.
    pub fn is_there(dir: BorrowedFd) -> bool {
        statat(dir, LOCK, AtFlags::SYMLINK_NOFOLLOW).is_ok()
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
        let failed = || "cannot write network.json into the state directory";
        let mut file = File::from(create(self.dir, RESULT_ASIDE, OFlags::TRUNC)?);
        file.write_all(result.to_string().as_bytes()).or_system(failed)?;
        renameat(self.dir, RESULT_ASIDE, self.dir, RESULT).or_system(failed)?;
        self.unlink(OUTPUT)
    }

    /// The newest result there is: of the plugin that a killed warden had just run, or of the last one finished.
    pub fn last(&self) -> Option<Value> {
        let is_result = |value: &Value| value.is_object() && value.get("code").is_none();
        self.read(OUTPUT)
            .filter(is_result)
            .or_else(|| self.read(RESULT).filter(is_result))
    }

    /// Removes everything that a network leaves.
    pub fn remove(self) -> Result<()> {
        [OUTPUT, RESULT_ASIDE, RESULT, LOCK]
            .into_iter()
            .try_for_each(|name| self.unlink(name))
    }

    /// Removes the output of a plugin that said nothing worth keeping.
    pub fn forget_output(&self) -> Result<()> {
        self.unlink(OUTPUT)
    }

    fn read(&self, name: &str) -> Option<Value> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = File::from(openat(self.dir, name, flags, Mode::empty()).ok()?);
        read_bounded(file)
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
