//! The private root: a tmpfs that holds only what the plan puts there. Every name in it is resolved by openat2 beneath the
//! root's descriptor without following any symlink, so that nothing bound into it can redirect a later mount.

use super::volume;
use crate::error::{Context, Error, Result};
use crate::path::SandboxPath;
use crate::plan::{KernelFs, Mount};
use crate::sys;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct PrivateRoot {
    dir: OwnedFd,
    /// The devices of the tmpfs itself and of those that the plan mounted in it: mount points are made on them and never on what is bound.
    devices: Vec<u64>,
    /// The host's null device, to hide files behind.
    null: OwnedFd,
    /// Device nodes that the spawned user will own.
    nodes: Vec<String>,
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A file system that is mounted nowhere yet.
fn detached(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let what = || format!("cannot make a {kind}");
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).or_system(what)?;
    for (key, value) in options {
        let set = if value.is_empty() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), *key)
        } else {
            rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)
        };
        set.or_system(|| format!("{}: option {key:?}", what()))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).or_system(what)?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).or_system(what)
}

impl PrivateRoot {
    /// Mounts the tmpfs over /proc, which is there on every host and which this process does not need: only the mount is
    /// wanted, since `pivot_root` takes no detached one.
    pub fn create(size_bytes: u64) -> Result<PrivateRoot> {
        let size = size_bytes.to_string();
        // Without `nodev`: the nodes of the plan are made here. The spawned process cannot make any.
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [("size", size.as_str()), ("mode", "0755"), ("nr_inodes", "4096")];
        let dir = detached("tmpfs", &options, attributes)?;
        let null = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .or_system(|| "cannot open /dev/null")?;
        rustix::mount::move_mount(
            dir.as_fd(),
            "",
            CWD,
            "/proc",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
        .or_system(|| "cannot mount the private root (a new mount namespace is needed)")?;
        let device = rustix::fs::fstat(&dir)
            .or_system(|| "cannot look at the private root")?
            .st_dev;
        Ok(PrivateRoot {
            dir,
            devices: vec![device],
            null,
            nodes: Vec::new(),
        })
    }

    fn open(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        rustix::fs::openat2(&self.dir, path, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE)
    }

    /// Opens the directory that is to hold the last part of `at`, making what is missing on the way on our own tmpfs.
    fn holder<'a>(&self, at: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (above, name) = at.rsplit_once('/').unwrap_or(("", at));
        let mut walked = String::new();
        for part in above.split('/').filter(|part| !part.is_empty()) {
            let holder = self.open(
                if walked.is_empty() { "/" } else { &walked },
                OFlags::PATH | OFlags::DIRECTORY,
            );
            let holder = holder.or_system(|| format!("cannot open {walked} in the private root"))?;
            self.make_directory(&holder, part, at)?;
            walked = format!("{walked}/{part}");
        }
        let path = if walked.is_empty() { "/" } else { &walked };
        let holder = self
            .open(path, OFlags::PATH | OFlags::DIRECTORY)
            .or_system(|| format!("cannot open {path} in the private root"))?;
        Ok((holder, name))
    }

    fn make_directory(&self, holder: &OwnedFd, name: &str, at: &str) -> Result<()> {
        let what = || format!("cannot make a place for {at} in the private root");
        match rustix::fs::statat(holder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => self.must_be_ours(holder, at)?,
            Err(error) => return Err(Error::system(what(), error)),
        }
        rustix::fs::mkdirat(holder, name, Mode::from_raw_mode(0o755)).or_system(what)
    }

    fn must_be_ours(&self, holder: &OwnedFd, at: &str) -> Result<()> {
        let device = rustix::fs::fstat(holder)
            .or_system(|| format!("cannot look at the place for {at}"))?
            .st_dev;
        if self.devices.contains(&device) {
            return Ok(());
        }
        Err(Error::step(format!(
            "cannot make a place for {at}: it lies in a mount of the host's that has none"
        )))
    }

    /// Attaches a detached mount, making its mount point where there is none.
    pub fn attach(&self, mount: BorrowedFd<'_>, at: &str, directory: bool) -> Result<()> {
        let what = || format!("cannot mount {at} in the private root");
        if at == "/" {
            return Err(Error::step("the private root itself cannot be mounted over"));
        }
        let (holder, name) = self.holder(at)?;
        if directory {
            self.make_directory(&holder, name, at)?;
        } else if let Err(Errno::NOENT) = rustix::fs::statat(&holder, name, AtFlags::SYMLINK_NOFOLLOW) {
            self.must_be_ours(&holder, at)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&holder, name, flags, Mode::from_raw_mode(0o644)).or_system(what)?;
        }
        let target = self.open(at, OFlags::PATH).or_system(what)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(mount, "", target.as_fd(), "", flags).or_system(what)
    }

    /// Attaches a detached mount in a tree that is bound already, at a path of that tree. What is missing on the way is made in the tree.
    pub fn attach_within(&self, mount: BorrowedFd<'_>, tree: &str, at: &str, directory: bool) -> Result<()> {
        let root = self
            .open(tree, OFlags::PATH | OFlags::DIRECTORY)
            .or_system(|| format!("cannot open {tree} in the private root"))?;
        let target = volume::place(&root, at, directory)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(mount, "", target.as_fd(), "", flags)
            .or_system(|| format!("cannot mount {at} in the guest's root"))
    }

    /// Makes a mount read-only, but nothing that is mounted in it.
    pub fn protect(&self, at: &str) -> Result<()> {
        let what = || format!("cannot make {at} read-only");
        let mount = self.open(at, OFlags::PATH).or_system(what)?;
        sys::mount_setattr(mount.as_fd(), sys::ATTR_RDONLY, false).or_system(what)
    }

    /// Mounts a kernel file system. Options are the file system's own (`size=1m`) or `ro`, `noexec`, `exec`.
    pub fn mount(&mut self, step: &Mount) -> Result<()> {
        let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        if step.kind != KernelFs::Devpts {
            attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
        }
        if step.kind != KernelFs::Tmpfs {
            attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC;
        }
        let mut options = Vec::new();
        for option in &step.options {
            match option.as_str() {
                "ro" => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
                "noexec" => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                "rw" | "nosuid" | "nodev" => {}
                other => options.push(other.split_once('=').unwrap_or((other, ""))),
            }
        }
        let mount = detached(step.kind.name(), &options, attributes)?;
        if step.kind == KernelFs::Tmpfs {
            let stat = rustix::fs::fstat(&mount).or_system(|| format!("cannot look at {}", step.at))?;
            self.devices.push(stat.st_dev);
        }
        self.attach(mount.as_fd(), step.at.as_str(), true)
    }

    /// Makes a device node, mode 0600.
    pub fn make_node(&mut self, at: &str, kind: u32, device: u64) -> Result<()> {
        let (holder, name) = self.holder(at)?;
        self.must_be_ours(&holder, at)?;
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&holder, name, FileType::from_raw_mode(kind), mode, device)
            .or_system(|| format!("cannot make the device node {at}"))?;
        self.nodes.push(at.to_string());
        Ok(())
    }

    /// Gives the device nodes to the user that will run.
    pub fn own_nodes(&self, uid: u32, gid: u32) -> Result<()> {
        use rustix::process::{Gid, Uid};
        for at in &self.nodes {
            let node = self
                .open(at, OFlags::PATH)
                .or_system(|| format!("cannot open {at}"))?;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&node, "", uid, gid, AtFlags::EMPTY_PATH)
                .or_system(|| format!("cannot own {at}"))?;
        }
        Ok(())
    }

    /// Makes a path read-only with all beneath it. One that is not there needs no guard.
    pub fn make_readonly(&self, at: &SandboxPath) -> Result<()> {
        let what = || format!("cannot make {at} read-only");
        let Some(target) = self.open_existing(at)? else {
            return Ok(());
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let copy = rustix::mount::open_tree(target.as_fd(), "", flags).or_system(what)?;
        sys::mount_setattr(copy.as_fd(), sys::ATTR_RDONLY, true).or_system(what)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(copy.as_fd(), "", target.as_fd(), "", flags).or_system(what)
    }

    /// Hides a path behind an empty directory or the null device.
    pub fn mask(&self, at: &SandboxPath) -> Result<()> {
        let what = || format!("cannot mask {at}");
        let Some(target) = self.open_existing(at)? else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(&target).or_system(what)?;
        let cover = if FileType::from_raw_mode(stat.st_mode).is_dir() {
            let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            detached(
                "tmpfs",
                &[("size", "4096"), ("mode", "0555"), ("nr_inodes", "1")],
                attributes,
            )?
        } else {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            rustix::mount::open_tree(self.null.as_fd(), "", flags).or_system(what)?
        };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(cover.as_fd(), "", target.as_fd(), "", flags).or_system(what)
    }

    fn open_existing(&self, at: &SandboxPath) -> Result<Option<OwnedFd>> {
        match self.open(at.as_str(), OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(Error::system(
                format!("cannot open {at} in the private root"),
                error,
            )),
        }
    }

    /// Makes the private root the only one there is, read-only; the host's mounts are gone afterwards.
    pub fn enter(self) -> Result<()> {
        rustix::process::fchdir(&self.dir).or_system(|| "cannot enter the private root")?;
        rustix::process::pivot_root(".", ".").or_system(|| "cannot pivot into the private root")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).or_system(|| "cannot let go of the host's root")?;
        rustix::process::chdir("/").or_system(|| "cannot enter the private root")?;
        sys::mount_setattr(self.dir.as_fd(), sys::ATTR_RDONLY, false)
            .or_system(|| "cannot make the private root read-only")
    }
}
