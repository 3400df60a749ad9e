//! `tap`: a tap in the sandbox's network namespace, gone with its descriptor.

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
    let fd = net::tap::create(&step.name, step.mtu, step.redirect.as_deref())?;
    if session.fds.insert(step.name.clone(), fd).is_some() {
        return Err(Error::step(format!("two descriptors are named {}", step.name)));
    }
    Ok(())
}

/// The redirect is taken off an interface that outlives us: one in a namespace that we joined. `netns` names it after a crash;
/// a namespace or an interface that is gone took the redirect with it.
pub fn undo(redirect: Option<&str>, netns: Option<&HostPath>, session: &mut Session) -> Result<()> {
    session.fds.clear();
    let (Some(redirect), Some(netns)) = (redirect, netns) else {
        return Ok(());
    };
    if session.network.is_some() {
        return net::tap::remove_redirect(redirect);
    }
    let Ok(file) = std::fs::File::open(netns) else {
        return Ok(());
    };
    sys::setns(file.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| format!("cannot join the network namespace {netns}"))?;
    let result = net::tap::remove_redirect(redirect);
    sys::setns(session.host_netns.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| "cannot go back to the host's network namespace")?;
    result
}
