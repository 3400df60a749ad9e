//! `tap`: a tap in the sandbox's network namespace, gone with its descriptor, or with its namespace where its owner opens it by name.

use crate::error::{Context, Error, Result};
use crate::net;
use crate::path::HostPath;
use crate::plan;
use crate::session::Session;
use crate::sys;
use std::os::fd::AsFd;

pub fn execute(step: &plan::Tap, session: &mut Session) -> Result<()> {
    if session.network.is_none() {
        return Err(Error::step(
            "a tap needs a network namespace of the sandbox's own",
        ));
    }
    let fd = net::tap::create(step)?;
    if step.owner.is_some() {
        // It has one queue: its owner could not take it while we hold it.
        drop(fd);
        return Ok(());
    }
    if session.fds.insert(step.name.clone(), fd).is_some() {
        return Err(Error::step(format!("two descriptors are named {}", step.name)));
    }
    Ok(())
}

/// A redirect is taken off an interface that outlives us, and a tap that an owner had by name is removed: those in a namespace that we
/// joined. `netns` names it after a crash; a namespace or an interface that is gone took them with it.
pub fn undo(
    redirect: Option<&str>,
    named: Option<&str>,
    netns: Option<&HostPath>,
    session: &mut Session,
) -> Result<()> {
    session.fds.clear();
    let Some(netns) = netns else {
        return Ok(());
    };
    if redirect.is_none() && named.is_none() {
        return Ok(());
    }
    if session.network.is_some() {
        return remove(redirect, named);
    }
    let Ok(file) = std::fs::File::open(netns) else {
        return Ok(());
    };
    sys::setns(file.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| format!("cannot join the network namespace {netns}"))?;
    let result = remove(redirect, named);
    sys::setns(session.host_netns.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| "cannot go back to the host's network namespace")?;
    result
}

fn remove(redirect: Option<&str>, named: Option<&str>) -> Result<()> {
    let redirect = redirect.map_or(Ok(()), net::tap::remove_redirect);
    named.map_or(Ok(()), net::tap::remove).and(redirect)
}
