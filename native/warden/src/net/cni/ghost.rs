//! A stand-in for a network namespace that is gone. Plugins look up the interface's addresses in the namespace to find the
//! firewall rules that they made for them, and leave those rules when the namespace has gone (with a killed warden).
//! So DEL is given a namespace that holds nothing but an interface of that name with the addresses of the result.

use crate::error::{Context, Error, Result};
use crate::net::link;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;
use std::net::IpAddr;

pub(super) struct Ghost {
    path: String,
    /// Keeps the namespace alive.
    _namespace: OwnedFd,
}

impl Ghost {
    /// None without addresses, or where a namespace cannot be had: DEL then goes without, as the specification allows.
    pub fn of(interface: &str, result: Option<&Value>) -> Option<Ghost> {
        let addresses: Vec<(IpAddr, u8)> = result?["ips"]
            .as_array()?
            .iter()
            .filter_map(|ip| subnet(ip["address"].as_str()?))
            .collect();
        if addresses.is_empty() {
            return None;
        }
        // A thread of its own: a namespace can only be left, not handed back.
        let made = std::thread::scope(|scope| scope.spawn(|| make(interface, &addresses)).join());
        let namespace = made.ok()?.ok()?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        Some(Ghost {
            path,
            _namespace: namespace,
        })
    }

    /// Where another process finds the namespace as long as this value lives.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn make(interface: &str, addresses: &[(IpAddr, u8)]) -> Result<OwnedFd> {
    // SAFETY: this thread leaves the network namespace alone; no memory or fd becomes private to it.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.or_system(|| "cannot make a network namespace")?;
    let mut socket = link::open()?;
    link::add_veth(&mut socket, interface)?;
    let index = link::index(interface)?;
    for (address, prefix) in addresses {
        link::add_address(&mut socket, index, *address, *prefix)?;
    }
    rustix::fs::open(
        "/proc/thread-self/ns/net",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| Error::system("cannot open a network namespace", error))
}

/// `10.1.2.3/24` as its parts.
fn subnet(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}
