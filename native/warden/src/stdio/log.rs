//! The log: CRI's format, `<RFC 3339 with nanoseconds> stdout|stderr F|P <text>`. `F` ends a line; what came without a line's end
//! is written at once as `P` (a prompt is seen when it is written, and nothing is held back), and goes on in the next record.

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::plan::LogLimits;
use crate::state_dir::{StateDir, write_all};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

pub struct Log {
    dir: OwnedFd,
    file: OwnedFd,
    size: u64,
    max_bytes: u64,
    files: u32,
}

/// More rotated files than this are never kept.
const MAX_FILES: u32 = 100;

fn open_file(dir: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, "log", flags, Mode::RUSR | Mode::WUSR)
}

impl Log {
    /// `maxBytes` 0 means that the log is never rotated.
    pub fn open(dir: &StateDir, limits: &LogLimits) -> Result<Log> {
        let what = || format!("cannot open {}/log", dir.path().display());
        let copy = dir
            .fd()
            .try_clone_to_owned()
            .map_err(|error| Error::system(what(), error))?;
        let file = open_file(&copy).or_system(what)?;
        let size = rustix::fs::fstat(&file).or_system(what)?.st_size as u64;
        let files = limits.files.clamp(1, MAX_FILES);
        Ok(Log {
            dir: copy,
            file,
            size,
            max_bytes: limits.max_bytes,
            files,
        })
    }

    /// Appends what the workload wrote. A log that cannot be written (a full disk) does not stop the workload: what is lost is
    /// lost from the log alone.
    pub fn write(&mut self, number: u8, bytes: &[u8]) {
        let records = records(
            &clock::now(),
            if number == 1 { "stdout" } else { "stderr" },
            bytes,
        );
        if self.max_bytes > 0 && self.size > 0 && self.size + records.len() as u64 > self.max_bytes {
            self.rotate();
        }
        if write_all(self.file.as_fd(), &records).is_ok() {
            self.size += records.len() as u64;
        }
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, …; the oldest goes.
    fn rotate(&mut self) {
        let name = |number: u32| {
            if number == 0 {
                "log".to_string()
            } else {
                format!("log.{number}")
            }
        };
        if self.files == 1 {
            let _ = rustix::fs::unlinkat(&self.dir, "log", AtFlags::empty());
        }
        for number in (1..self.files).rev() {
            let _ = rustix::fs::renameat(&self.dir, name(number - 1), &self.dir, name(number));
        }
        if let Ok(file) = open_file(&self.dir) {
            self.file = file;
            self.size = 0;
        }
    }
}

fn records(time: &str, stream: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (tag, text) = match line.strip_suffix(b"\n") {
            Some(text) => ('F', text),
            None => ('P', line),
        };
        out.extend_from_slice(format!("{time} {stream} {tag} ").as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_full_and_the_rest_is_partial() {
        let text = records("T", "stdout", b"a\n\nb");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "T stdout F a\nT stdout F \nT stdout P b\n"
        );
        assert_eq!(records("T", "stderr", b""), b"");
    }

    #[test]
    fn the_log_rotates_and_keeps_no_more_files_than_asked() {
        let base = std::env::temp_dir().join(format!("tripod-log-{}", std::process::id()));
        std::fs::create_dir_all(base.join("a")).unwrap();
        let dir = StateDir::open(&base.join("a")).unwrap();
        let mut log = Log::open(
            &dir,
            &LogLimits {
                max_bytes: 100,
                files: 3,
            },
        )
        .unwrap();
        for number in 0..10 {
            log.write(1, format!("line {number} {}\n", "x".repeat(40)).as_bytes());
        }
        let mut names: Vec<_> = std::fs::read_dir(base.join("a"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        assert!(
            std::fs::read_to_string(base.join("a/log"))
                .unwrap()
                .contains("line 9")
        );
        assert!(
            std::fs::read_to_string(base.join("a/log.2"))
                .unwrap()
                .contains("line 7")
        );
        std::fs::remove_dir_all(base).unwrap();
    }
}
