//! File systems: the kernel's own, which every program expects, and the configuration's disks. What was mounted is
//! remembered and taken down in the end.

use alloc::borrow::ToOwned;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr;

use crate::console::say;
use crate::system::{Errno, check, facts, make_directories, read_file};

/// Mount points, in the order in which they were mounted.
#[derive(Default)]
pub struct Mounts(Vec<CString>);

const NO_SETUID: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// Type, mount point with the directory that it is in, flags and options.
const SYSTEM: [(&CStr, &CStr, &CStr, libc::c_ulong, Option<&CStr>); 5] = [
    (c"proc", c"/proc", c"/", NO_SETUID, None),
    (c"sysfs", c"/sys", c"/", NO_SETUID, None),
    (
        c"devtmpfs",
        c"/dev",
        c"/",
        libc::MS_NOSUID | libc::MS_NOEXEC,
        None,
    ),
    (
        c"devpts",
        c"/dev/pts",
        c"/dev",
        libc::MS_NOSUID | libc::MS_NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ),
    (c"tmpfs", c"/dev/shm", c"/dev", NO_SETUID, Some(c"mode=1777")),
];

/// Links that every container has, and that devtmpfs has not.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

impl Mounts {
    /// Mounts the kernel's file systems where none is mounted yet. What cannot be mounted is told and left.
    pub fn mount_system(&mut self) {
        for (kind, at, above, flags, options) in SYSTEM {
            let _ = make_directories(at);
            if device_of(at).is_some_and(|device| Some(device) != device_of(above)) {
                continue;
            }
            match mount(kind, at, kind, flags, options) {
                Ok(()) => self.0.push(at.to_owned()),
                // Kernels of unikernel size are built without terminals or shared memory.
                Err(Errno(libc::ENODEV)) if above != c"/" => {}
                Err(why) => say(format_args!(
                    "cannot mount {}: {why}",
                    at.to_bytes().escape_ascii()
                )),
            }
        }
        for (to, at) in LINKS {
            // SAFETY: constant strings. A link that is there already is as good.
            unsafe { libc::symlink(to.as_ptr(), at.as_ptr()) };
        }
    }

    /// Mounts a disk, trying each file system that the kernel knows.
    ///
    /// # Errors
    /// A sentence, when none fits.
    pub fn mount_disk(&mut self, device: &CStr, at: &CStr) -> Result<(), String> {
        let (device_name, name) = (device.to_bytes().escape_ascii(), at.to_bytes().escape_ascii());
        make_directories(at).map_err(|why| format!("cannot make {name}: {why}"))?;
        let mut last = None;
        for kind in disk_file_systems() {
            match mount(device, at, &kind, 0, None) {
                Ok(()) => {
                    self.0.push(at.to_owned());
                    return Ok(());
                }
                // Another file system's disk.
                Err(Errno(libc::EINVAL)) => {}
                Err(why) => last = Some(why),
            }
        }
        Err(match last {
            Some(why) => format!("cannot mount {device_name} at {name}: {why}"),
            None => format!("cannot mount {device_name} at {name}: this kernel knows no file system on it"),
        })
    }

    /// Writes everything back, takes down what was mounted, last first, and leaves the root read-only.
    pub fn take_down(&self) {
        // SAFETY: system calls on constant or owned strings.
        unsafe {
            libc::sync();
            for at in self.0.iter().rev() {
                if libc::umount2(at.as_ptr(), 0) != 0 {
                    libc::umount2(at.as_ptr(), libc::MNT_DETACH);
                }
            }
            // A root in memory has nothing to lose; a disk's journal is closed by this.
            libc::mount(
                ptr::null(),
                c"/".as_ptr(),
                ptr::null(),
                libc::MS_REMOUNT | libc::MS_RDONLY,
                ptr::null(),
            );
            libc::sync();
        }
    }
}

fn mount(
    source: &CStr,
    at: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> Result<(), Errno> {
    let options = options.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: strings that live through the call.
    check(unsafe { libc::mount(source.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.cast()) })
        .map(drop)
}

/// What the kernel mounts from a block device, ext4 first.
fn disk_file_systems() -> Vec<CString> {
    let known = read_file(c"/proc/filesystems", 1 << 16).unwrap_or_default();
    let of_disks = known
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"\t"));
    [&b"ext4"[..]]
        .into_iter()
        .chain(of_disks.filter(|&kind| kind != b"ext4"))
        .filter_map(|kind| CString::new(kind).ok())
        .collect()
}

fn device_of(path: &CStr) -> Option<libc::dev_t> {
    facts(path).ok().map(|facts| facts.st_dev)
}
