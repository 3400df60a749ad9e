//! Carries out a CNI network (specification 0.4.0 to 1.1.0): the plugins of one list, ADD in order and DEL in reverse.
//!
//! The plugins run in the host's network namespace. What they have made outlives a killed warden, so everything
//! that DEL needs is found again: in the state directory lie a copy of the list, of the plugins that were begun, and results
//! as soon as a plugin has written them; a plugin that still runs holds a lock that DEL waits for. The copy names plugins
//! as the list does, without a path: they are looked for in the plan's directories.

mod exec;
mod ghost;
mod list;
mod record;

use crate::error::{Error, Result};
use crate::plan::PortMapping;
use list::{List, Plugin};
use record::Record;
use rustix::fd::BorrowedFd;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One attachment: a sandbox, a network and an interface.
pub struct CniContext<'a> {
    /// The sandbox's id: `CNI_CONTAINERID`.
    pub id: &'a str,
    /// The sandbox's network namespace as a path that root can open, e.g. `/proc/PID/ns/net`; for `del`, None or a
    /// path that is gone mean that the namespace no longer exists.
    pub netns_path: Option<String>,
    /// `<lib>/networks/NAME.conflist`.
    pub conflist: PathBuf,
    /// The interface to make in the namespace: `CNI_IFNAME`.
    pub interface: &'a str,
    /// Where plugins are looked for, in order: `CNI_PATH`.
    pub plugin_dirs: Vec<PathBuf>,
    /// Published ports, for plugins with the capability `portMappings`.
    pub ports: &'a [PortMapping],
    /// The sandbox's state directory: holds `network.json` (the last result), `network.list`, `network.out` and `network.lock`.
    pub state_dir: BorrowedFd<'a>,
    pub host_netns: BorrowedFd<'a>,
}

/// ADD of every plugin, each with the result of the one before. Returns the last result, which also lies in
/// `network.json`. After an error `del` must be called: what earlier plugins made is still there.
pub fn add(context: &CniContext) -> Result<Value> {
    let list = List::read(&context.conflist)?;
    let Some(netns) = context.netns_path.as_deref() else {
        return Err(Error::bad_request(
            "a network needs a network namespace; none was made or joined",
        ));
    };
    if !context.ports.is_empty() && !list.plugins.iter().any(Plugin::maps_ports) {
        return Err(Error::step(format!(
            "network {} cannot publish ports: none of its plugins has the capability portMappings; add the plugin portmap to {}",
            list.name,
            context.conflist.display()
        )));
    }
    let record = Record::begin(context.state_dir, &list.first(0))?;
    let mut result = None;
    for (begun, plugin) in (1..).zip(&list.plugins) {
        let config = plugin.config(&list, context.ports, result.as_ref());
        // A plugin that is not there has nothing to take down.
        let found = exec::find(&context.plugin_dirs, &list, plugin)?;
        record.keep_list(&list.first(begun))?;
        let answer = exec::run(context, &record, &found, exec::Command::Add, netns, &config)?;
        let answer = exec::result(&list, plugin, &answer)?;
        record.keep(&answer)?;
        result = Some(answer);
    }
    // A list without plugins is refused when it is read.
    result.ok_or_else(|| Error::step(format!("network {} has no plugins", list.name)))
}

/// DEL in reverse of every plugin whose ADD has begun, each even if one before it failed; the first failure is returned at the end. The
/// list is the one that ADD had, whatever has become of the operator's. Calling it again, or without an ADD, does nothing.
pub fn del(context: &CniContext) -> Result<()> {
    if !Record::is_there(context.state_dir) {
        return Ok(());
    }
    let record = Record::open(context.state_dir)?;
    record.wait_for_plugins();
    let list = match record.list()? {
        Some(list) => list,
        None => List::read(&context.conflist)?,
    };
    let result = record.last();
    let ghost;
    let netns = match context
        .netns_path
        .as_deref()
        .filter(|path| Path::new(path).exists())
    {
        Some(path) => path,
        None => {
            ghost = ghost::Ghost::of(context.interface, result.as_ref());
            ghost.as_ref().map_or("", |ghost| ghost.path())
        }
    };
    let mut first_failure = None;
    for plugin in list.plugins.iter().rev() {
        let config = plugin.config(&list, context.ports, result.as_ref());
        let run = |netns| {
            let found = exec::find(&context.plugin_dirs, &list, plugin)?;
            exec::run(context, &record, &found, exec::Command::Del, netns, &config)
        };
        let outcome = match run(netns) {
            // What needs the namespace is gone; the rest (an address lease) is looked after without it.
            Err(error) if !netns.is_empty() && is_gone_already(&error) => run(""),
            other => other,
        };
        if let Err(error) = outcome {
            first_failure.get_or_insert(error);
        }
    }
    match first_failure {
        Some(error) => Err(error),
        None => record.remove(),
    }
}

/// Whether a plugin stumbled over what an earlier DEL, whose warden was killed before it noted so, has removed. The plugin bridge does,
/// up to 1.1: it does not know what iptables 1.8 on nf_tables says of a chain that is not there.
fn is_gone_already(error: &Error) -> bool {
    error.message.contains("iptables") && error.message.contains(" does not exist")
}

#[cfg(test)]
mod tests;
