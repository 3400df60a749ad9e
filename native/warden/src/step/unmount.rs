//! `unmount`: takes a file system away from the host, so that a guest can have the block device that it lies on. It must be mounted nowhere while the guest
//! writes to the device: in the engine's mount namespace (the one that we were started in), in ours, in the stage's, and in nobody else's.

use crate::error::{Context, Error, Result};
use crate::path::HostPath;
use crate::plan::Unmount;
use crate::session::Session;
use crate::stage::Order;
use crate::sys;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Until a file system that was unmounted everywhere lets go of its device.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// A mount as `/proc/self/mountinfo` tells it: what is needed to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mounted {
    pub source: HostPath,
    pub kind: String,
    /// Of the mount, then of the file system, separated by commas.
    pub options: String,
    pub data: String,
}

/// What is mounted at the step's path; absent where it is not the whole of a block device's file system.
pub fn mounted(step: &Unmount, session: &mut Session) -> Option<Mounted> {
    at_host(session, || find(&step.at)).ok().flatten()
}

pub fn execute(step: &Unmount, session: &mut Session) -> Result<()> {
    let at = &step.at;
    let Some(mount) = mounted(step, session) else {
        return Err(Error::step(format!("no block device is mounted at {at}")));
    };
    let what = || format!("cannot unmount {at}, which the guest is to have");
    at_host(session, || {
        rustix::mount::unmount(at.as_str(), UnmountFlags::NOFOLLOW).or_system(what)
    })?;
    // Where the host's mounts do not reach us, ours are copies.
    if find(at)?.is_some() {
        forget(at)?;
    }
    if let Some(stage) = &session.stage {
        stage.order(&Order::Forget { at: at.to_string() }, &[])?;
    }
    let end = Instant::now() + PATIENCE;
    while is_held(&mount.source)? {
        if Instant::now() > end {
            return Err(Error::step(format!(
                "the file system of {at} is still mounted elsewhere, and a guest cannot have {} beside that",
                mount.source
            )));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Takes a mount out of this mount namespace, if it is there.
pub fn forget(at: &HostPath) -> Result<()> {
    match rustix::mount::unmount(at.as_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::system(format!("cannot forget {at}"), error)),
    }
}

/// A mounted file system holds its device exclusively.
fn is_held(device: &HostPath) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    match rustix::fs::open(device.as_str(), flags, Mode::empty()) {
        Ok(_) => Ok(false),
        Err(Errno::BUSY) => Ok(true),
        Err(error) => Err(Error::system(format!("cannot open {device}"), error)),
    }
}

/// Does something in the mount namespace that we were started in.
pub(super) fn at_host<T>(session: &mut Session, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if let Some(cgroup) = &mut session.cgroup {
        // A mount namespace is changed by a process of one thread only.
        cgroup.attached()?;
    }
    let own = std::fs::File::open("/proc/self/ns/mnt").or_system(|| "cannot open /proc/self/ns/mnt")?;
    sys::setns(session.host_mounts.as_fd(), libc::CLONE_NEWNS)
        .or_system(|| "cannot enter the host's mount namespace")?;
    let result = work();
    sys::setns(own.as_fd(), libc::CLONE_NEWNS).or_system(|| "cannot come back to our mount namespace")?;
    result
}

fn find(at: &HostPath) -> Result<Option<Mounted>> {
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").or_system(|| "cannot read /proc/self/mountinfo")?;
    Ok(find_in(&table, at.as_str()))
}

/// `id parent major:minor root mount-point options [tag…] - type source options`; the last line of a place is what is seen there.
fn find_in(table: &str, at: &str) -> Option<Mounted> {
    let line = table
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4).is_some_and(|point| unescaped(point) == at))?;
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, options) = (place.next()?, place.nth(1)?);
    let mut system = system.split(' ');
    let (kind, source, data) = (system.next()?, unescaped(system.next()?), system.next()?);
    if root != "/" || !source.starts_with("/dev/") {
        return None;
    }
    Some(Mounted {
        source: source.try_into().ok()?,
        kind: kind.to_string(),
        options: options.to_string(),
        data: data.to_string(),
    })
}

/// Blank, tab, line feed and backslash are written as three octal digits.
fn unescaped(field: &str) -> String {
    let mut text = field.to_string();
    for (code, character) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, character);
    }
    text
}

pub(super) fn flags_of(options: &str) -> MountFlags {
    options.split(',').fold(MountFlags::empty(), |flags, option| {
        flags
            | match option {
                "ro" => MountFlags::RDONLY,
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                "noatime" => MountFlags::NOATIME,
                "nodiratime" => MountFlags::NODIRATIME,
                "relatime" => MountFlags::RELATIME,
                _ => MountFlags::empty(),
            }
    })
}

/// Mounts it again for the engine, which unmounts it itself. Where its place is gone the engine has done so.
pub fn undo(at: &HostPath, mount: Option<&Mounted>, session: &mut Session) -> Result<()> {
    let Some(mount) = mount else { return Ok(()) };
    at_host(session, || {
        if find(at)?.is_some() {
            return Ok(());
        }
        let flags = flags_of(&mount.options) | flags_of(&mount.data);
        let data: Vec<&str> = mount
            .data
            .split(',')
            .filter(|word| !["rw", "ro"].contains(word))
            .collect();
        let again = |data: &str| {
            let data = CString::new(data).map_err(|_| Errno::INVAL)?;
            rustix::mount::mount(
                mount.source.as_str(),
                at.as_str(),
                mount.kind.as_str(),
                flags,
                data.as_c_str(),
            )
        };
        // Some file systems show options that they do not take.
        match again(&data.join(",")).or_else(|error| {
            if error == Errno::INVAL {
                again("")
            } else {
                Err(error)
            }
        }) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(Error::system(
                format!("cannot mount {} at {at} again", mount.source),
                error,
            )),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 27 253:1 / /run/a\\040b rw,nosuid,noatime shared:3 master:1 - ext4 /dev/mapper/snap ro,stripe=16
32 27 253:2 /sub /run/part rw - ext4 /dev/mapper/other rw
33 27 0:40 / /run/overlay rw - overlay overlay rw
34 27 253:3 / /run/twice rw - ext4 /dev/dm-3 rw
35 34 253:4 / /run/twice rw - ext2 /dev/dm-4 rw
";

    #[test]
    fn the_topmost_mount_of_a_whole_device_is_found_with_what_makes_it_again() {
        let mount = find_in(TABLE, "/run/a b").unwrap();
        assert_eq!(mount.source.as_str(), "/dev/mapper/snap");
        assert_eq!(
            (mount.kind.as_str(), mount.data.as_str()),
            ("ext4", "ro,stripe=16")
        );
        let flags = flags_of(&mount.options) | flags_of(&mount.data);
        assert_eq!(
            flags,
            MountFlags::NOSUID | MountFlags::NOATIME | MountFlags::RDONLY
        );
        assert_eq!(find_in(TABLE, "/run/twice").unwrap().source.as_str(), "/dev/dm-4");
        for other in ["/run/part", "/run/overlay", "/run", "/run/a"] {
            assert_eq!(find_in(TABLE, other), None, "{other}");
        }
    }
}
