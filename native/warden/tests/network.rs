//! A network by CNI, a tap, a hook and a user namespace, through whole plans.

mod harness;

use harness::*;
use serde_json::{Value, json};

/// A network of its own: a bridge and a subnet that no other test has.
fn with_network(lab: &Lab) -> String {
    let bridge = format!("tptw{}", std::process::id() % 100_000);
    let list = json!({"cniVersion": "1.0.0", "name": "lab", "plugins": [
        {"type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": false,
            "ipam": {"type": "host-local", "dataDir": lab.root.join("ipam"),
                "ranges": [[{"subnet": "10.99.77.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]});
    std::fs::write(lab.lib().join("networks/lab.conflist"), list.to_string()).unwrap();
    bridge
}

fn network() -> Value {
    json!({"do": "network", "name": "lab", "interface": "eth0", "pluginDirs": ["/usr/lib/cni"], "ports": []})
}

fn leases(lab: &Lab) -> usize {
    let named = |name: &str| name.starts_with("10.");
    std::fs::read_dir(lab.root.join("ipam/lab"))
        .map(|dir| {
            dir.flatten()
                .filter(|entry| named(&entry.file_name().to_string_lossy()))
                .count()
        })
        .unwrap_or(0)
}

#[test]
fn a_network_is_seen_used_and_given_back() {
    let lab = Lab::new();
    let bridge = with_network(&lab);
    let mut steps = ground(&lab);
    steps.as_array_mut().unwrap().push(network());
    for ending in ["delete", "kill"] {
        std::fs::create_dir_all(lab.dir()).unwrap();
        let mut warden = lab.warden();
        let prepared = warden
            .owner()
            .ok(json!({"op": "prepare", "plan": lab.plan(steps.clone()), "onExit": "keep"}));
        let interface = &prepared["net"]["interfaces"][0];
        assert_eq!(interface["name"], "eth0", "{prepared}");
        assert!(
            interface["addresses"][0]["address"]
                .as_str()
                .unwrap()
                .starts_with("10.99.77."),
            "{prepared}"
        );
        let launch = json!([{"do": "tap", "name": "tap0", "mtu": 1500, "redirect": "eth0"}, bind_busybox(),
            {"do": "mount", "type": "sysfs", "at": "/sys", "options": ["ro"]},
            spawn_with("echo NET $(/bin/busybox ls /sys/class/net); exec /bin/busybox sleep 1000",
                json!({"fds": [{"name": "tap0", "at": 3}]}))]);
        warden
            .owner()
            .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
        warden.owner().ok(json!({"op": "start"}));
        until("the log", || {
            if log_of(&lab.dir()).contains("NET eth0 lo tap0") {
                Ok(())
            } else {
                Err(log_of(&lab.dir()))
            }
        });
        assert_eq!(leases(&lab), 1);
        if ending == "delete" {
            warden.owner().ok(json!({"op": "delete", "force": true}));
            warden.exit();
        } else {
            warden.kill();
            assert_eq!(lab.undo(), json!({"ok": {}}));
        }
        assert_eq!(leases(&lab), 0, "{ending}");
        assert!(!lab.dir().exists());
    }
    let _ = std::process::Command::new("ip")
        .args(["link", "del", &bridge])
        .status();
}

#[test]
fn a_network_that_is_not_there_is_an_error_and_never_no_network() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    let mut steps = ground(&lab);
    steps.as_array_mut().unwrap().push(network());
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": lab.plan(steps), "onExit": "keep"}));
    assert_eq!(error["step"], "network", "{error}");
}

#[test]
fn hooks_get_the_state_and_their_failure_is_told() {
    let lab = Lab::new();
    let seen = lab.root.join("seen");
    let hook = |script: String, timeout: u64| {
        json!({"do": "hook", "when": "now", "path": BUSYBOX, "argv": ["sh", "-c", script], "env": ["A=b"], "timeoutMs": timeout,
            "where": "runtime", "state": "eyJhIjoxfQ=="})
    };
    let mut warden = lab.warden();
    let good = json!([hook(
        format!(
            "/bin/busybox cat > {}; echo $A >> {}",
            seen.display(),
            seen.display()
        ),
        5000
    )]);
    let good_answer = warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(good), "onExit": "keep"}));
    assert_eq!(good_answer["times"][0]["step"], "hook");
    let told = std::fs::read_to_string(&seen).unwrap();
    let state = told
        .strip_suffix("b\n")
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let wanted = json!({"a": 1, "pid": warden.child.id(), "status": "creating"});
    assert_eq!(state, Some(wanted), "{told}");
    let bad = json!([hook("echo it is broken >&2; exit 3".to_string(), 5000)]);
    let error = warden
        .owner()
        .error(json!({"op": "launch", "plan": lab.plan(bad)}));
    assert!(
        error["message"].as_str().unwrap().ends_with("it is broken"),
        "{error}"
    );

    let lab = Lab::new();
    let mut warden = lab.warden();
    let slow = json!([hook("exec /bin/busybox sleep 100".to_string(), 100)]);
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": lab.plan(slow), "onExit": "keep"}));
    assert!(
        error["message"].as_str().unwrap().contains("within 100 ms"),
        "{error}"
    );
}

#[test]
fn a_user_namespace_maps_the_program_away_from_root() {
    let lab = Lab::new();
    let steps = json!([
        {"do": "cgroup", "path": lab.cgroup(), "limits": {}, "warden": false},
        {"do": "namespaces", "make": ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"], "join": [],
            "uidMap": [{"inside": 0, "outside": 300_000, "count": 65_536}],
            "gidMap": [{"inside": 0, "outside": 300_000, "count": 65_536}]},
        {"do": "root", "sizeBytes": 1 << 20},
        bind_busybox(),
        {"do": "device", "from": "/dev/null", "at": "/dev/null"},
    ]);
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(steps), "onExit": "keep"}));
    let launch = json!([spawn_with(
        "echo $(/bin/busybox id -u) > /dev/null; exec /bin/busybox sleep 1000",
        json!({"as": {"uid": 7, "gid": 8, "groups": []}})
    )]);
    let launched = warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    warden.owner().ok(json!({"op": "start"}));
    let status = std::fs::read_to_string(format!("/proc/{}/status", launched["pid"])).unwrap();
    assert!(
        status.contains("Uid:\t300007\t300007") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

fn ip(arguments: &[&str]) -> String {
    let output = std::process::Command::new("ip").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_tap_by_name_goes_from_a_namespace_that_stays() {
    let netns = format!("tripod-w{}", std::process::id());
    ip(&["netns", "add", &netns]);
    for ending in ["delete", "kill"] {
        let lab = Lab::new();
        let mut steps = ground(&lab);
        steps[1] = json!({"do": "namespaces", "make": ["mount", "pid", "ipc", "uts"],
            "join": [{"kind": "network", "path": format!("/run/netns/{netns}")}]});
        let mut warden = lab.warden();
        warden
            .owner()
            .ok(json!({"op": "prepare", "plan": lab.plan(steps), "onExit": "keep"}));
        let tap = json!({"do": "tap", "name": "tap0", "mtu": 1400, "owner": {"uid": 4242, "gid": 4243}});
        let launch = json!([tap, bind_busybox(), spawn("exec /bin/busybox sleep 1000")]);
        warden
            .owner()
            .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
        warden.owner().ok(json!({"op": "start"}));
        assert!(ip(&["-n", &netns, "link"]).contains("tap0"));
        if ending == "delete" {
            warden.owner().ok(json!({"op": "delete", "force": true}));
            warden.exit();
        } else {
            warden.kill();
            assert!(ip(&["-n", &netns, "link"]).contains("tap0"));
            assert_eq!(lab.undo(), json!({"ok": {}}));
        }
        assert!(!ip(&["-n", &netns, "link"]).contains("tap0"), "{ending}");
    }
    ip(&["netns", "delete", &netns]);
}
