//! The confinement of `unpack`, entered before the first hostile byte is read and never left.

use super::arguments::Arguments;
use super::seccomp;
use crate::error::{Context, Error, Result};
use crate::sys;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, unshare_unsafe};
use std::path::Path;

/// Address space: the program, its buffers, and the times of directories that wait for the end.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
const OPEN_FILES: u64 = 64;
/// Only the mount itself, without what is mounted beneath.
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_EMPTY_PATH);

/// What files of an image need: any owner, mode and device, file capabilities; SYS_ADMIN for `trusted.*` attributes, by which
/// overlayfs knows opaque directories. The system calls that make SYS_ADMIN dangerous are not on the list.
fn capabilities() -> CapabilitySet {
    CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP
        | CapabilitySet::SYS_ADMIN
}

/// Makes the directory to unpack into, which must be empty, the whole world of this process, and returns it opened, with the layers
/// below as mounts of their own: read-only, and with nothing above their roots. Afterwards the process has no other file system,
/// no network, and cannot write files above `max_bytes`. Needs root.
pub fn enter(arguments: &Arguments) -> Result<(OwnedFd, Vec<OwnedFd>)> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(
            "not-root",
            "unpacking a layer needs root, for its owners, devices and whiteouts",
        ));
    }
    rustix::process::umask(Mode::empty());
    let (tree, lowers) = isolate(arguments)?;
    let root = rustix::fs::openat(
        &tree,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .or_system(|| "cannot open the layer's directory")?;
    drop(tree);
    limit_resources(arguments.limits.max_bytes, lowers.len() as u64)?;
    drop_privileges().map_err(|error| Error::system("cannot give up privileges", error))?;
    seccomp::install().map_err(|error| Error::system("cannot install the seccomp filter", error))?;
    Ok((root, lowers))
}

/// New namespaces whose root is the directory. Returns the directory in its new place, and the layers below.
fn isolate(arguments: &Arguments) -> Result<(OwnedFd, Vec<OwnedFd>)> {
    let at = || arguments.into.display();
    let namespaces = UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // SAFETY: the process has one thread, and none of these namespaces touches memory or open files.
    unsafe { unshare_unsafe(namespaces) }.or_system(|| "cannot make namespaces to unpack in")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .or_system(|| "cannot make mounts private")?;
    // Opened in the new namespace: a mount of the old one could not be cloned here.
    let lowers = arguments.lowers.iter().map(|lower| view(lower));
    let lowers = lowers.collect::<Result<Vec<OwnedFd>>>()?;
    let place = open_place(&arguments.into)?;
    let failed = || format!("cannot make {} the root directory", at());
    let tree = open_tree(&place, "", CLONE).or_system(failed)?;
    let onto = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &place, "", onto).or_system(failed)?;
    drop(place);
    rustix::process::fchdir(&tree).or_system(failed)?;
    // With one directory for both, the old root lies on top of the new one until it is unmounted.
    rustix::process::pivot_root(".", ".").or_system(failed)?;
    unmount(".", UnmountFlags::DETACH).or_system(failed)?;
    rustix::process::chdir("/").or_system(failed)?;
    Ok((tree, lowers))
}

fn open_place(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty()).map_err(|error| {
        Error::system(
            format!("cannot open the directory {}", directory.display()),
            error,
        )
        .with_code("state-unwritable")
    })
}

/// A directory as a mount that is attached nowhere, so that `..` leads nowhere either, and that nobody can write through.
fn view(directory: &Path) -> Result<OwnedFd> {
    let failed = || format!("cannot look at the layer {}", directory.display());
    let tree = open_tree(open_place(directory)?, "", CLONE).or_system(failed)?;
    let attributes = sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV | sys::ATTR_NOEXEC;
    sys::mount_setattr(tree.as_fd(), attributes, false).or_system(failed)?;
    Ok(tree)
}

fn limit_resources(max_file_bytes: u64, open_files: u64) -> Result<()> {
    for (resource, limit) in [
        (Resource::Fsize, max_file_bytes),
        (Resource::As, MEMORY_BYTES),
        (Resource::Nofile, OPEN_FILES + open_files),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
    ] {
        // A lower limit that holds already cannot be raised and need not be.
        let most = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        setrlimit(
            resource,
            Rlimit {
                current: Some(most),
                maximum: Some(most),
            },
        )
        .or_system(|| format!("cannot set the resource limit {resource:?}"))?;
    }
    Ok(())
}

/// Keeps only `capabilities`; nothing, not even a set-user-id program, gives another one back.
fn drop_privileges() -> rustix::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::clear_ambient_capability_set()?;
    for capability in CapabilitySet::all().difference(capabilities()).iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // A capability that this kernel does not know yet.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    let sets = CapabilitySets {
        effective: capabilities(),
        permitted: capabilities(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}
