//! `root`, `bind`, `mount` and `device`: the private root. The warden opens what is the host's, the stage places it.

use super::files::open_host;
use crate::error::{Context, Error, Result};
use crate::path::HostPath;
use crate::plan;
use crate::session::Session;
use crate::stage::{Order, Stage};
use crate::sys;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use std::os::fd::{AsFd, OwnedFd};

pub fn create(step: &plan::Root, session: &mut Session) -> Result<()> {
    session.stage()?.order(
        &Order::Root {
            size_bytes: step.size_bytes,
        },
        &[],
    )
}

pub fn bind(step: &plan::Bind, session: &mut Session) -> Result<()> {
    bind_into(step, session.stage()?)
}

/// Binds into the private root of any stage.
pub fn bind_into(step: &plan::Bind, stage: &Stage) -> Result<()> {
    let what = || format!("cannot bind {}", step.from);
    let mount = clone_tree(&step.from, step.recursive, step.nofollow).or_system(what)?;
    // Places for the volumes are made before the directory becomes read-only.
    let late = step.readonly && !step.volumes.is_empty();
    let attributes = attributes(step.readonly && !late, step.noexec);
    sys::mount_setattr(mount.as_fd(), attributes, step.recursive).or_system(what)?;
    attach(stage, &mount, step.at.as_str(), None)?;
    for volume in &step.volumes {
        mount_volume(volume, step, stage)?;
    }
    if late {
        stage.order(
            &Order::Protect {
                at: step.at.to_string(),
            },
            &[],
        )?;
    }
    Ok(())
}

fn attributes(readonly: bool, noexec: bool) -> u64 {
    let mut attributes = sys::ATTR_NOSUID | sys::ATTR_NODEV;
    if readonly {
        attributes |= sys::ATTR_RDONLY;
    }
    if noexec {
        attributes |= sys::ATTR_NOEXEC;
    }
    attributes
}

fn mount_volume(volume: &plan::Volume, into: &plan::Bind, stage: &Stage) -> Result<()> {
    let what = || format!("cannot bind {} for {}", volume.from, volume.at);
    let mount = clone_tree(&volume.from, volume.recursive, false).or_system(what)?;
    let attributes = attributes(volume.readonly, into.noexec);
    sys::mount_setattr(mount.as_fd(), attributes, volume.recursive).or_system(what)?;
    attach(stage, &mount, volume.at.as_str(), Some(into.at.to_string()))
}

/// A mount of what lies at a path, attached nowhere yet.
fn clone_tree(from: &HostPath, recursive: bool, nofollow: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let source = open_host(from, OFlags::PATH | OFlags::CLOEXEC, nofollow)?;
    rustix::mount::open_tree(source.as_fd(), "", flags)
}

fn attach(stage: &Stage, mount: &impl AsFd, at: &str, within: Option<String>) -> Result<()> {
    let stat = rustix::fs::fstat(mount).or_system(|| format!("cannot look at what is bound to {at}"))?;
    let directory = FileType::from_raw_mode(stat.st_mode).is_dir();
    stage.order(
        &Order::Attach {
            at: at.to_string(),
            directory,
            within,
        },
        &[mount.as_fd()],
    )
}

pub fn mount(step: &plan::Mount, session: &mut Session) -> Result<()> {
    session.stage()?.order(&Order::Mount { step: step.clone() }, &[])
}

pub fn device(step: &plan::Device, session: &mut Session) -> Result<()> {
    let what = || format!("cannot open the device {}", step.from);
    let node = rustix::fs::open(step.from.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .or_system(what)?;
    let stat = rustix::fs::fstat(&node).or_system(what)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => return Err(Error::step(format!("{} is not a device", step.from))),
    };
    if let Some(cgroup) = &session.cgroup {
        cgroup.allow_device(
            kind,
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        )?;
    }
    if session.stage()?.has_users {
        // Nodes cannot be made in a user namespace. The host's own is bound instead, with the owner and mode it has there.
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = rustix::mount::open_tree(CWD, step.from.as_str(), flags).or_system(what)?;
        sys::mount_setattr(mount.as_fd(), sys::ATTR_NOSUID | sys::ATTR_NOEXEC, false).or_system(what)?;
        return attach(session.stage()?, &mount, step.at.as_str(), None);
    }
    let order = Order::Node {
        at: step.at.to_string(),
        kind: FileType::from_raw_mode(stat.st_mode).as_raw_mode(),
        device: stat.st_rdev,
    };
    session.stage()?.order(&order, &[])
}

/// The private root is a mount of the stage's own namespace and vanishes with it.
pub fn undo(_session: &mut Session) -> Result<()> {
    Ok(())
}
