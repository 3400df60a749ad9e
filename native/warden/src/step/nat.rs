//! `nat`: a network of two addresses behind a tap, for a guest whose namespace others use as well. The namespace's own stack keeps its interface; what
//! the guest sends leaves under that interface's address.

use crate::error::{Context, Error, Result};
use crate::net;
use crate::path::HostPath;
use crate::plan::{Nat, Protocol};
use crate::run;
use crate::session::Session;
use crate::sys;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// iptables waits for its lock; nothing of ours holds it long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where iptables is. Looked up anew when it is undone: no program is read from the journal.
const PLACES: [&str; 4] = [
    "/usr/sbin/iptables",
    "/sbin/iptables",
    "/usr/local/sbin/iptables",
    "/usr/bin/iptables",
];

pub fn execute(step: &Nat, session: &mut Session) -> Result<()> {
    if session.network.is_none() {
        return Err(Error::step("nat needs a network namespace of the sandbox's own"));
    }
    net::give_address(&step.tap, IpAddr::V4(step.host), step.prefix)?;
    // Of the namespace that we are in.
    let forward = "/proc/sys/net/ipv4/ip_forward";
    std::fs::write(forward, "1").or_system(|| format!("cannot write 1 to {forward}"))?;
    rules(step, session.id())
        .iter()
        .try_for_each(|rule| iptables("-A", rule))
}

/// Chain, then the rest of a rule; each carries the sandbox's name, by which `undo` takes it for ours.
fn rules(step: &Nat, id: &str) -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_string).collect::<Vec<_>>();
    let named = |mut rule: Vec<String>| {
        rule.extend(words("-m comment --comment"));
        rule.push(format!("tripod:{id}"));
        rule
    };
    let mut rules = vec![named(words(&format!(
        "POSTROUTING -s {}/32 -o {} -j MASQUERADE",
        step.guest, step.link
    )))];
    for port in &step.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        rules.push(named(words(&format!(
            "PREROUTING -i {} -p {protocol} --dport {} -j DNAT --to-destination {}",
            step.link, port.port, step.guest
        ))));
    }
    rules
}

fn iptables(verb: &str, rule: &[String]) -> Result<()> {
    let program = PLACES
        .iter()
        .find(|place| Path::new(place).exists())
        .ok_or_else(|| {
            Error::step("iptables is not installed, and a guest beside other containers needs it")
        })?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .current_dir("/")
        .args(["--wait", "10", "-t", "nat", verb])
        .args(rule);
    run::tie(&mut command, None);
    let finished = run::run(&mut command, &[], DEADLINE, true)?;
    if finished.status.success() {
        return Ok(());
    }
    Err(Error::step(format!("iptables: {}", finished.complaint())))
}

/// Takes the rules out of a namespace that we joined; one of our own took them with it.
pub fn undo(step: &Nat, netns: Option<&HostPath>, session: &mut Session) -> Result<()> {
    let Some(netns) = netns else { return Ok(()) };
    let id = session.id().to_string();
    let remove = || {
        for rule in rules(step, &id) {
            // One that was never made, or is gone already, is no error.
            let _ = iptables("-D", &rule);
        }
    };
    if session.network.is_some() {
        remove();
        return Ok(());
    }
    let Ok(file) = std::fs::File::open(netns) else {
        return Ok(());
    };
    sys::setns(file.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| format!("cannot join the network namespace {netns}"))?;
    remove();
    sys::setns(session.host_netns.as_fd(), libc::CLONE_NEWNET)
        .or_system(|| "cannot go back to the host's network namespace")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NatPort;
    use std::net::Ipv4Addr;

    #[test]
    fn every_rule_names_its_sandbox() {
        let step = Nat {
            tap: "tap0".into(),
            link: "eth0".into(),
            host: Ipv4Addr::new(198, 18, 0, 1),
            guest: Ipv4Addr::new(198, 18, 0, 2),
            prefix: 30,
            ports: vec![NatPort {
                port: 80,
                protocol: Protocol::Tcp,
            }],
        };
        let rules: Vec<String> = rules(&step, "a1").iter().map(|rule| rule.join(" ")).collect();
        assert_eq!(
            rules,
            [
                "POSTROUTING -s 198.18.0.2/32 -o eth0 -j MASQUERADE -m comment --comment tripod:a1",
                "PREROUTING -i eth0 -p tcp --dport 80 -j DNAT --to-destination 198.18.0.2 -m comment --comment tripod:a1",
            ]
        );
    }
}
