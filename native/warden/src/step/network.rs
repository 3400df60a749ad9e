//! `network`: the CNI plugins of a configured network.

use crate::error::{Error, Result};
use crate::net::cni::{self, CniContext};
use crate::plan::Network;
use crate::session::Session;
use std::os::fd::AsFd;
use std::path::PathBuf;

fn context<'a>(step: &'a Network, session: &'a Session) -> Result<CniContext<'a>> {
    if step.name.is_empty() || step.name.starts_with('.') || step.name.contains(['/', '\0']) {
        return Err(Error::step(format!(
            "{:?} is not the name of a network",
            step.name
        )));
    }
    // The warden is in the namespace itself, so that its own entry in /proc is a name for it.
    let netns_path = session
        .network
        .as_ref()
        .map(|_| format!("/proc/{}/ns/net", std::process::id()));
    Ok(CniContext {
        id: session.id(),
        netns_path,
        conflist: session
            .lib
            .join("networks")
            .join(format!("{}.conflist", step.name)),
        interface: &step.interface,
        plugin_dirs: step
            .plugin_dirs
            .iter()
            .map(|dir| PathBuf::from(dir.as_str()))
            .collect(),
        ports: &step.ports,
        state_dir: session.dir.fd(),
        host_netns: session.host_netns.as_fd(),
    })
}

pub fn execute(step: &Network, session: &mut Session) -> Result<()> {
    let result = cni::add(&context(step, session)?)?;
    if let Some(network) = &mut session.network {
        network.result = Some(result);
    }
    Ok(())
}

pub fn undo(step: &Network, session: &mut Session) -> Result<()> {
    cni::del(&context(step, session)?)
}
