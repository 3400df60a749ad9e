//! Real plugins of the package containernetworking-plugins, on a bridge of the test's own. They need root.

use super::{CniContext, add, del};
use crate::plan::{PortMapping, Protocol};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

const PLUGINS: &str = "/usr/lib/cni";
static NEXT: AtomicU8 = AtomicU8::new(0);

fn open(path: impl AsRef<Path>) -> OwnedFd {
    rustix::fs::open(path.as_ref(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("open")
}

/// What a program says in the host's network namespace, that of the main thread.
fn output(program: &str, arguments: &[&str]) -> String {
    let host = open("/proc/self/ns/net");
    let mut command = Command::new(program);
    command.args(arguments);
    let enter = move || {
        Ok(move_into_link_name_space(
            host.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    };
    // SAFETY: between fork and exec there is one system call, on an fd that the closure owns.
    unsafe { command.pre_exec(enter) };
    let output = command.output().expect("the program runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success()
            || complaint.contains("Cannot find device")
            || complaint.contains("does not exist"),
        "{program}: {complaint}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network, a state directory and an id of one test, with everything removed at its end.
struct Lab {
    dir: PathBuf,
    bridge: String,
    id: String,
    state: OwnedFd,
    host: OwnedFd,
    ports: Vec<PortMapping>,
}

impl Lab {
    fn new(plugins: impl FnOnce(&str, &str, &Path) -> Value) -> Lab {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let bridge = format!("tpt{}x{number}", std::process::id());
        let dir = std::env::temp_dir().join(format!("tripod-cni-{bridge}"));
        std::fs::create_dir_all(dir.join("state")).expect("a directory");
        let subnet = format!("10.99.{}.0/24", (std::process::id() as u8).wrapping_add(number));
        let list = json!({"cniVersion": "1.0.0", "name": bridge, "plugins": plugins(&bridge, &subnet, &dir)});
        std::fs::write(dir.join("n.conflist"), list.to_string()).expect("a list");
        let (state, host) = (open(dir.join("state")), open("/proc/self/ns/net"));
        Lab {
            id: format!("id-{bridge}"),
            dir,
            bridge,
            state,
            host,
            ports: Vec::new(),
        }
    }

    /// Bridge, ports and firewall as `tripod run` has them.
    fn whole() -> Lab {
        let mut lab = Lab::new(|bridge, subnet, dir| {
            json!([
                {"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "ipam": {
                    "type": "host-local", "dataDir": dir.join("leases"), "ranges": [[{"subnet": subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}]}, "dns": {"nameservers": ["9.9.9.9"], "search": ["x.example"]}},
                {"type": "portmap", "capabilities": {"portMappings": true}},
                {"type": "firewall"},
            ])
        });
        let port = 20000 + (std::process::id() % 20000) as u16 + u16::from(NEXT.load(Ordering::Relaxed));
        lab.ports.push(PortMapping {
            host_ip: None,
            host_port: port,
            guest_port: 80,
            protocol: Protocol::Tcp,
        });
        lab
    }

    fn context(&self, netns_path: Option<String>) -> CniContext<'_> {
        CniContext {
            id: &self.id,
            netns_path,
            conflist: self.dir.join("n.conflist"),
            interface: "eth0",
            plugin_dirs: vec!["/nonexistent".into(), PLUGINS.into(), self.dir.clone()],
            ports: &self.ports,
            state_dir: self.state.as_fd(),
            host_netns: self.host.as_fd(),
        }
    }

    /// Everything that the network has made outside the namespace and that must be gone in the end.
    fn traces(&self) -> Vec<String> {
        let rules = output("iptables-save", &[]);
        let lease = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.ok()?.path();
            std::fs::read_to_string(&path)
                .ok()?
                .contains(&self.id)
                .then(|| path.display().to_string())
        };
        let leases = std::fs::read_dir(self.dir.join("leases").join(&self.bridge))
            .into_iter()
            .flatten();
        let files = std::fs::read_dir(self.dir.join("state")).expect("the state directory");
        // Rules bear the id in a comment; the firewall's bear the address only.
        let mut found: Vec<String> = rules
            .lines()
            .filter(|rule| rule.contains(&self.id))
            .map(str::to_string)
            .collect();
        let address = output("ip", &["-4", "-o", "addr", "show", "dev", &self.bridge]);
        if let Some(prefix) = address
            .split_whitespace()
            .nth(3)
            .and_then(|text| text.split(".1/").next())
        {
            let firewall = format!("{prefix}.");
            found.extend(
                rules
                    .lines()
                    .filter(|rule| rule.starts_with("-A CNI-FORWARD") && rule.contains(&firewall))
                    .map(str::to_string),
            );
        }
        found.extend(leases.filter_map(lease));
        found.extend(files.flatten().map(|entry| entry.path().display().to_string()));
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        output("ip", &["link", "del", &self.bridge]);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Runs `body` in a thread that has left the host's network namespace, as the warden has.
fn in_sandbox<T: Send>(body: impl FnOnce(String) -> T + Send) -> T {
    let thread = || {
        // SAFETY: only the network namespace is unshared, which touches no memory or fd of other threads.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the network need root");
        body(format!(
            "/proc/{}/task/{}/ns/net",
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero()
        ))
    };
    std::thread::scope(|scope| scope.spawn(thread).join().expect("the thread of the test"))
}

#[test]
fn a_network_comes_and_goes_without_a_trace() {
    let lab = Lab::whole();
    in_sandbox(|netns| {
        let context = lab.context(Some(netns));
        let result = add(&context).expect("ADD");
        let facts = crate::net::look(Some(&result)).expect("look");
        let address = &facts.interfaces[0].addresses[0].address;
        assert!(
            result["ips"][0]["address"]
                .as_str()
                .is_some_and(|text| text.starts_with(address.as_str()))
        );
        assert!(
            facts
                .routes
                .iter()
                .any(|route| route.destination == "0.0.0.0/0" && route.gateway.is_some())
        );
        assert_eq!(facts.dns.servers, ["9.9.9.9"]);
        assert!(
            lab.traces().iter().any(|trace| trace.contains("dport")),
            "{:?}",
            lab.traces()
        );
        for _ in 0..2 {
            del(&context).expect("DEL");
            assert_eq!(lab.traces(), Vec::<String>::new());
        }
        assert_eq!(crate::net::look(None).expect("look").interfaces, []);
    });
}

#[test]
fn a_network_whose_namespace_is_gone_leaves_no_trace() {
    let lab = Lab::whole();
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    assert!(
        lab.traces().iter().any(|trace| trace.contains("POSTROUTING")),
        "{:?}",
        lab.traces()
    );
    del(&lab.context(Some("/proc/1/fd/nothing".into()))).expect("DEL");
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn what_a_killed_warden_has_taken_down_is_taken_down_again() {
    let lab = Lab::whole();
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    let (state, aside) = (lab.dir.join("state"), lab.dir.join("aside"));
    let copy = |from: &Path, to: &Path| {
        for entry in std::fs::read_dir(from).expect("a directory").flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
        }
    };
    std::fs::create_dir(&aside).expect("a directory");
    copy(&state, &aside);
    for _ in 0..2 {
        del(&lab.context(None)).expect("DEL");
        assert_eq!(lab.traces(), Vec::<String>::new());
        // Killed after the plugins were done and before that was noted.
        copy(&aside, &state);
    }
    del(&lab.context(None)).expect("DEL");
}

#[test]
fn the_output_of_a_plugin_that_outlived_its_warden_is_enough() {
    let lab = Lab::whole();
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    let state = lab.dir.join("state");
    std::fs::rename(state.join("network.json"), state.join("network.out")).expect("rename");
    del(&lab.context(None)).expect("DEL");
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_fails_midway_is_named_and_the_rest_is_undone() {
    let lab = Lab::new(|bridge, subnet, dir| {
        json!([
            {"type": "bridge", "bridge": bridge, "ipMasq": true, "ipam": {
                "type": "host-local", "dataDir": dir.join("leases"), "ranges": [[{"subnet": subnet}]]}},
            {"type": "bandwidth", "ingressRate": -5},
        ])
    });
    in_sandbox(|netns| {
        let context = lab.context(Some(netns));
        let error = add(&context).expect_err("a rate below zero");
        assert!(
            error.message.contains("plugin bandwidth (ADD) failed:"),
            "{error}"
        );
        assert!(lab.traces().iter().any(|trace| trace.contains("POSTROUTING")));
        let _ = del(&context);
        let left: Vec<String> = lab
            .traces()
            .into_iter()
            .filter(|trace| !trace.contains("/state/"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    });
}

/// A plugin made of a shell script.
fn script(lab: &Lab, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = lab.dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn a_plugin_gets_the_environment_of_the_specification_in_the_hosts_namespace() {
    let lab = Lab::new(|_, _, _| json!([{"type": "probe"}]));
    script(
        &lab,
        "probe",
        "input=$(cat); env | sort > ${0}.env; readlink /proc/self/ns/net > ${0}.ns; ls /proc/self/fd > ${0}.fds\n\
         echo \"$input\" > ${0}.in; echo '{\"cniVersion\":\"1.0.0\"}'",
    );
    in_sandbox(|netns| {
        add(&lab.context(Some(netns.clone()))).expect("ADD");
        let said =
            |suffix: &str| std::fs::read_to_string(lab.dir.join(format!("probe.{suffix}"))).expect("said");
        for line in [
            "CNI_COMMAND=ADD",
            &format!("CNI_NETNS={netns}"),
            "CNI_IFNAME=eth0",
            &format!("CNI_CONTAINERID={}", lab.id),
        ] {
            assert!(
                said("env").lines().any(|known| known == line),
                "{line} in {}",
                said("env")
            );
        }
        assert!(!said("env").contains("CARGO"), "nothing is inherited");
        let host = std::fs::read_link("/proc/self/ns/net").expect("the host's namespace");
        assert_eq!(Path::new(said("ns").trim()), host);
        // Standard streams, the lock, and what `ls` itself opens.
        assert!(said("fds").lines().count() <= 5, "{}", said("fds"));
        assert!(said("in").contains("\"name\":"));
    });
}

#[test]
fn what_a_plugin_complains_about_is_repeated_in_one_line() {
    let lab = Lab::new(|_, _, _| json!([{"type": "sulky"}]));
    let message = |text: &str| {
        script(&lab, "sulky", text);
        in_sandbox(|netns| add(&lab.context(Some(netns))).expect_err("a failure").message)
    };
    let spoken = message("echo '{\"code\": 7, \"msg\": \"no\", \"details\": \"never\"}'; exit 1");
    assert!(spoken.ends_with("failed: no; never (CNI error 7)"), "{spoken}");
    assert!(message("echo 'first\nsecond' >&2; exit 3").ends_with("failed: first second"));
    assert!(message("exit 3").contains("exit status: 3"));
    assert!(message("kill -9 $$").contains("signal: 9"));
    assert!(message("echo '[]'").contains("no CNI result"));
    assert!(message("head -c 2000000 /dev/zero").contains("1 MiB"));
}

#[test]
fn a_missing_plugin_or_capability_is_named_with_its_remedy() {
    let mut lab = Lab::new(|_, _, _| json!([{"type": "nonesuch"}]));
    let error = in_sandbox(|netns| add(&lab.context(Some(netns))).expect_err("no such plugin"));
    assert!(
        error.message.contains("nonesuch") && error.message.contains("containernetworking-plugins"),
        "{error}"
    );
    lab.ports.push(PortMapping {
        host_ip: None,
        host_port: 1,
        guest_port: 1,
        protocol: Protocol::Udp,
    });
    let error = in_sandbox(|netns| add(&lab.context(Some(netns))).expect_err("no portmap"));
    assert!(error.message.contains("portMappings"), "{error}");
}

#[test]
fn networks_made_at_one_moment_do_not_disturb_each_other() {
    let labs: Vec<Lab> = (0..4).map(|_| Lab::whole()).collect();
    std::thread::scope(|scope| {
        for lab in &labs {
            scope.spawn(|| {
                in_sandbox(|netns| {
                    let context = lab.context(Some(netns));
                    add(&context).expect("ADD");
                    del(&context).expect("DEL");
                });
            });
        }
    });
    for lab in &labs {
        assert_eq!(lab.traces(), Vec::<String>::new());
    }
}

#[test]
fn taking_down_waits_for_what_a_killed_warden_left_running() {
    let lab = Lab::new(|_, _, _| json!([{"type": "slow"}]));
    script(
        &lab,
        "slow",
        "if [ $CNI_COMMAND = DEL ]; then test -e $0.done; exit; fi\n\
         (sleep 0.4; touch $0.done) & echo '{\"cniVersion\":\"1.0.0\"}'",
    );
    in_sandbox(|netns| {
        let context = lab.context(Some(netns));
        add(&context).expect("ADD");
        assert!(
            !lab.dir.join("slow.done").exists(),
            "the plugin's child still runs"
        );
        del(&context).expect("DEL after the child has ended");
    });
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn a_network_is_taken_down_by_the_list_that_made_it() {
    for change in ["removed", "changed"] {
        let lab = Lab::whole();
        in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
        assert!(lab.traces().iter().any(|trace| trace.contains("POSTROUTING")));
        let conflist = lab.dir.join("n.conflist");
        if change == "removed" {
            std::fs::remove_file(conflist).expect("remove");
        } else {
            let other = json!({"cniVersion": "1.0.0", "name": "other", "plugins": [{"type": "nonesuch"}]});
            std::fs::write(conflist, other.to_string()).expect("a list");
        }
        for _ in 0..2 {
            del(&lab.context(None)).expect("DEL");
            assert_eq!(lab.traces(), Vec::<String>::new(), "{change}");
        }
    }
}

#[test]
fn without_a_kept_list_the_operators_own_is_read() {
    let lab = Lab::whole();
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    std::fs::remove_file(lab.dir.join("state/network.list")).expect("a kept list");
    del(&lab.context(None)).expect("DEL");
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn a_kept_list_names_no_program_outside_the_plugin_directories() {
    let lab = Lab::new(|_, _, _| json!([{"type": "probe"}]));
    script(&lab, "probe", "echo '{\"cniVersion\":\"1.0.0\"}'");
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    let list = json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "../probe"}]});
    std::fs::write(lab.dir.join("state/network.list"), list.to_string()).expect("a list");
    let error = del(&lab.context(None)).expect_err("a path");
    assert!(error.message.contains("no plain program name"), "{error}");
}

#[test]
fn only_plugins_that_were_begun_are_taken_down() {
    let lab = Lab::new(
        |_, _, _| json!([{"type": "first"}, {"type": "second"}, {"type": "nonesuch"}, {"type": "third"}]),
    );
    for name in ["first", "second", "third"] {
        script(
            &lab,
            name,
            "echo $CNI_COMMAND >> $0.said; echo '{\"cniVersion\":\"1.0.0\"}'",
        );
    }
    let said = |name: &str| std::fs::read_to_string(lab.dir.join(name).with_extension("said"));
    let error = in_sandbox(|netns| add(&lab.context(Some(netns))).expect_err("no such plugin"));
    assert!(error.message.contains("nonesuch"), "{error}");
    del(&lab.context(None)).expect("DEL");
    assert_eq!(said("first").expect("said"), "ADD\nDEL\n");
    assert_eq!(said("second").expect("said"), "ADD\nDEL\n");
    said("third").expect_err("never run");
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_cannot_be_found_leaves_nothing_and_one_that_went_missing_is_an_error() {
    let lab = Lab::new(|_, _, _| json!([{"type": "nosuch"}]));
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect_err("no such plugin");
    del(&lab.context(None)).expect("nothing to take down");
    assert_eq!(lab.traces(), Vec::<String>::new());
    script(&lab, "nosuch", "echo '{\"cniVersion\":\"1.0.0\"}'");
    in_sandbox(|netns| add(&lab.context(Some(netns))).map(drop)).expect("ADD");
    std::fs::remove_file(lab.dir.join("nosuch")).expect("remove");
    let error = del(&lab.context(None)).expect_err("it is missing");
    assert!(error.message.contains("nosuch"), "{error}");
    script(&lab, "nosuch", "exit 0");
    del(&lab.context(None)).expect("it is back");
    assert_eq!(lab.traces(), Vec::<String>::new());
}

#[test]
fn taking_down_what_was_never_made_runs_no_plugin() {
    let lab = Lab::new(|_, _, _| json!([{"type": "nonesuch"}]));
    del(&lab.context(None)).expect("nothing to do");
    std::fs::remove_file(lab.dir.join("n.conflist")).expect("remove");
    del(&lab.context(None)).expect("not even a list is needed");
}
