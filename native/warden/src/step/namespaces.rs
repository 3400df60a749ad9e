//! `namespaces`: the network's is entered by the warden itself, the others by the stage.

use crate::error::{Context, Error, Result};
use crate::net;
use crate::plan::{NamespaceKind, Namespaces};
use crate::session::{Network, Session};
use crate::stage::Stage;
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};

pub fn execute(step: &Namespaces, session: &mut Session) -> Result<()> {
    let mut joined = Vec::new();
    for join in &step.join {
        if step.make.contains(&join.kind) {
            return Err(Error::step(format!(
                "the {:?} namespace can be made or joined, not both",
                join.kind
            )));
        }
        let file = std::fs::File::open(&join.path)
            .or_system(|| format!("cannot open the namespace {}", join.path))?;
        if join.kind == NamespaceKind::Mount {
            return Err(Error::step(
                "a mount namespace cannot be joined: the private root needs a new one",
            ));
        }
        if join.kind != NamespaceKind::Network {
            joined.push((join.kind, OwnedFd::from(file)));
            continue;
        }
        sys::setns(file.as_fd(), libc::CLONE_NEWNET)
            .or_system(|| format!("cannot join the network namespace {}", join.path))?;
        session.network = Some(Network {
            joined: Some(join.path.clone()),
            result: None,
        });
    }
    if step.make.contains(&NamespaceKind::Network) {
        sys::unshare(libc::CLONE_NEWNET).or_system(|| "cannot make a network namespace")?;
        session.network = Some(Network {
            joined: None,
            result: None,
        });
        net::loopback_up()?;
    }
    let only_network = step.make.iter().all(|kind| *kind == NamespaceKind::Network) && joined.is_empty();
    if only_network {
        return Ok(());
    }
    if session.stage.is_some() {
        return Err(Error::step("the plan has two steps `namespaces`"));
    }
    let stage = Stage::start(step, joined)?;
    if let Some(cgroup) = &mut session.cgroup {
        cgroup.forbid_devices()?;
        cgroup.attach(stage.process.name.pid)?;
    }
    session.stage = Some(stage);
    Ok(())
}

/// Namespaces vanish with the processes in them. After a crash of ours the kernel has killed the stage (parent-death signal).
pub fn undo(session: &mut Session) -> Result<()> {
    if let Some(stage) = session.stage.take()
        && !stage.process.end()
    {
        return Err(Error::step(format!(
            "process {} does not die",
            stage.process.name.pid
        )));
    }
    if session.network.take().is_some() {
        sys::setns(session.host_netns.as_fd(), libc::CLONE_NEWNET)
            .or_system(|| "cannot go back to the host's network namespace")?;
    }
    Ok(())
}
