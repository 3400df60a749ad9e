//! File systems: the kernel's own, which every program expects, and the configuration's disks. What was mounted is
//! remembered and taken down in the end.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{fs, io, ptr};

use crate::console::say;

/// Mount points, in the order in which they were mounted.
#[derive(Default)]
pub struct Mounts(Vec<CString>);

const NO_SETUID: libc::c_ulong = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;

/// Type, mount point, flags and options.
const SYSTEM: [(&CStr, &CStr, libc::c_ulong, Option<&CStr>); 5] = [
    (c"proc", c"/proc", NO_SETUID, None),
    (c"sysfs", c"/sys", NO_SETUID, None),
    (c"devtmpfs", c"/dev", libc::MS_NOSUID | libc::MS_NOEXEC, None),
    (
        c"devpts",
        c"/dev/pts",
        libc::MS_NOSUID | libc::MS_NOEXEC,
        Some(c"newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ),
    (c"tmpfs", c"/dev/shm", NO_SETUID, Some(c"mode=1777")),
];

/// Links that every container has, and that devtmpfs has not.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

impl Mounts {
    /// Mounts the kernel's file systems where none is mounted yet. What cannot be mounted is told and left.
    pub fn mount_system(&mut self) {
        for (kind, at, flags, options) in SYSTEM {
            let _ = fs::create_dir(path_of(at));
            if is_mount_point(path_of(at)) {
                continue;
            }
            match mount(kind, at, kind, flags, options) {
                Ok(()) => self.0.push(at.to_owned()),
                // Kernels of unikernel size are built without terminals or shared memory.
                Err(why) if why.raw_os_error() == Some(libc::ENODEV) && at.to_bytes().len() > 5 => {}
                Err(why) => say(format_args!("cannot mount {}: {why}", path_of(at).display())),
            }
        }
        for (to, at) in LINKS {
            let _ = std::os::unix::fs::symlink(to, at);
        }
    }

    /// Mounts a disk, trying each file system that the kernel knows.
    ///
    /// # Errors
    /// A sentence, when none fits.
    pub fn mount_disk(&mut self, device: &CStr, at: &CStr) -> Result<(), String> {
        let (device_name, name) = (path_of(device).display(), path_of(at).display());
        fs::create_dir_all(path_of(at)).map_err(|why| format!("cannot make {name}: {why}"))?;
        let mut last = None;
        for kind in disk_file_systems() {
            match mount(device, at, &kind, 0, None) {
                Ok(()) => {
                    self.0.push(at.to_owned());
                    return Ok(());
                }
                // Another file system's disk.
                Err(why) if why.raw_os_error() == Some(libc::EINVAL) => {}
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
) -> io::Result<()> {
    let options = options.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: strings that live through the call.
    let result = unsafe { libc::mount(source.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What the kernel mounts from a block device, ext4 first.
fn disk_file_systems() -> Vec<CString> {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let of_disks = known.lines().filter_map(|line| line.strip_prefix('\t'));
    ["ext4"]
        .into_iter()
        .chain(of_disks.filter(|&kind| kind != "ext4"))
        .filter_map(|kind| CString::new(kind).ok())
        .collect()
}

fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|facts| facts.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

fn path_of(text: &CStr) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(text.to_bytes()))
}
