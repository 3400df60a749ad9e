//! What the standard library would do, for a program without it.

use alloc::borrow::ToOwned;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::time::Duration;
use core::{fmt, ptr};

/// Why a system call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Errno(pub c_int);

impl Errno {
    /// Of the call before.
    pub fn last() -> Self {
        // SAFETY: the C library's own variable, read by the one thread.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the C library has a text for every number, and nobody asks for another before it is used.
        let text = unsafe { CStr::from_ptr(libc::strerror(self.0)) };
        f.write_str(text.to_str().unwrap_or("unknown error"))
    }
}

/// The answer of a call that says -1 when it fails.
pub fn check(answer: c_int) -> Result<c_int, Errno> {
    if answer == -1 {
        Err(Errno::last())
    } else {
        Ok(answer)
    }
}

/// A whole file, unless it is longer than that: then one byte more.
pub fn read_file(path: &CStr, most: usize) -> Result<Vec<u8>, Errno> {
    // SAFETY: a string that lives through the call.
    let file = check(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })?;
    let mut content = Vec::new();
    let mut block = [0_u8; 4096];
    let outcome = loop {
        // SAFETY: the kernel writes no more than the block holds.
        let length = unsafe { libc::read(file, block.as_mut_ptr().cast(), block.len()) };
        match usize::try_from(length) {
            Err(_) => break Err(Errno::last()),
            Ok(0) => break Ok(()),
            Ok(length) => content.extend_from_slice(&block[..length]),
        }
        if content.len() > most {
            content.truncate(most + 1);
            break Ok(());
        }
    };
    // SAFETY: this function's own descriptor.
    unsafe { libc::close(file) };
    outcome.map(|()| content)
}

/// Writes to a file that exists.
pub fn write_file(path: &CStr, content: &[u8]) -> Result<(), Errno> {
    // SAFETY: a string that lives through the call, then this function's own descriptor and as many bytes as there are.
    unsafe {
        let file = check(libc::open(
            path.as_ptr(),
            libc::O_WRONLY | libc::O_NOCTTY | libc::O_CLOEXEC,
        ))?;
        let written = libc::write(file, content.as_ptr().cast(), content.len());
        let outcome = if written < 0 { Err(Errno::last()) } else { Ok(()) };
        libc::close(file);
        outcome
    }
}

pub fn facts(path: &CStr) -> Result<libc::stat, Errno> {
    let mut facts = MaybeUninit::uninit();
    // SAFETY: the kernel fills the structure in when it says so.
    unsafe {
        check(libc::stat(path.as_ptr(), facts.as_mut_ptr()))?;
        Ok(facts.assume_init())
    }
}

/// The names in a directory; none if it cannot be read.
pub fn names(path: &CStr) -> Vec<CString> {
    let mut names = Vec::new();
    // SAFETY: the C library's own structure, and names that are copied before the next is asked for.
    unsafe {
        let directory = libc::opendir(path.as_ptr());
        if directory.is_null() {
            return names;
        }
        loop {
            let entry = libc::readdir(directory);
            if entry.is_null() {
                break;
            }
            names.push(CStr::from_ptr((&raw const (*entry).d_name).cast()).to_owned());
        }
        libc::closedir(directory);
    }
    names
}

/// Makes a directory and those above it.
pub fn make_directories(path: &CStr) -> Result<(), Errno> {
    let bytes = path.to_bytes();
    for end in (1..=bytes.len()).filter(|&end| end == bytes.len() || bytes[end] == b'/') {
        let part = CString::new(&bytes[..end]).unwrap_or_default();
        // SAFETY: a string that lives through the call.
        match check(unsafe { libc::mkdir(part.as_ptr(), 0o755) }) {
            Ok(_) | Err(Errno(libc::EEXIST)) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Time that passes evenly, since the machine's start.
pub fn now() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes the time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

pub fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos().into(),
    }
}

pub fn sleep(time: Duration) {
    let time = timespec(time);
    // SAFETY: reads the time; whether it slept it all is nobody's question.
    unsafe { libc::nanosleep(&raw const time, ptr::null_mut()) };
}

/// The strings of a list that ends with a null.
///
/// # Safety
/// It must be such a list, and live on unchanged.
pub unsafe fn strings(list: *const *const c_char) -> Vec<&'static CStr> {
    let mut strings = Vec::new();
    // SAFETY: the caller's promise.
    unsafe {
        while !(*list.add(strings.len())).is_null() {
            strings.push(CStr::from_ptr(*list.add(strings.len())));
        }
    }
    strings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> CString {
        let name = format!(
            "{}/tripod-init-{}-{name}",
            std::env::temp_dir().display(),
            std::process::id()
        );
        CString::new(name).unwrap_or_default()
    }

    #[test]
    fn files_are_read_and_written_and_told_apart() {
        let file = path("file");
        assert_eq!(write_file(&file, b"1\n"), Err(Errno(libc::ENOENT)));
        assert_eq!(
            Errno(libc::ENOENT).to_string().to_lowercase(),
            "no such file or directory"
        );
        let long = vec![b'x'; 10_000];
        assert!(std::fs::write(file.to_str().unwrap_or_default(), &long).is_ok());
        assert_eq!(read_file(&file, 20_000), Ok(long));
        assert_eq!(read_file(&file, 100).map(|content| content.len()), Ok(101));
        assert_eq!(read_file(c"/", 1), Err(Errno(libc::EISDIR)));
        assert!(std::fs::remove_file(file.to_str().unwrap_or_default()).is_ok());
    }

    #[test]
    fn directories_are_made_with_those_above_and_listed() {
        let top = path("directory");
        let below = CString::new([top.to_bytes(), b"/a//b"].concat()).unwrap_or_default();
        assert_eq!(make_directories(&below), Ok(()));
        assert_eq!(make_directories(&below), Ok(()));
        assert!(names(&top).contains(&c"a".to_owned()));
        assert!(facts(&below).is_ok_and(|facts| facts.st_mode & libc::S_IFMT == libc::S_IFDIR));
        assert_eq!(make_directories(c"/proc/none/x"), Err(Errno(libc::ENOENT)));
        assert!(names(c"/none").is_empty());
        assert!(std::fs::remove_dir_all(top.to_str().unwrap_or_default()).is_ok());
    }
}
