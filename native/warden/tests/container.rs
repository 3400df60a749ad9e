//! A container by runc from a bundle in the state directory.

mod harness;

use harness::*;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

/// Makes a layer with busybox, and returns the steps of the ground.
fn steps(lab: &Lab, script: &str, terminal: bool, tree: &str) -> Vec<Value> {
    let lower = lab.root.join("lower");
    for part in ["bin", "proc", "dev", "etc", "gone"] {
        std::fs::create_dir_all(lower.join(part)).unwrap();
    }
    std::fs::copy(BUSYBOX, lower.join("bin/busybox")).unwrap();
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {"terminal": terminal, "user": {"uid": 0, "gid": 0}, "cwd": "/",
            "args": ["/bin/busybox", "sh", "-c", script], "env": ["PATH=/bin"]},
        "root": {"path": lab.dir().join("rootfs"), "readonly": false},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]}],
        "linux": {"cgroupsPath": lab.cgroup(),
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    });
    let config = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config.to_string());
    let stdio = json!({"terminal": terminal, "rows": 11, "cols": 22, "stdin": "null", "tee": false,
        "log": {"maxBytes": 1 << 20, "files": 2}});
    vec![
        json!({"do": "directory", "at": "bundle", "mode": 0o700}),
        json!({"do": "namespaces", "make": ["network"], "join": []}),
        json!({"do": tree, "lowers": [lower], "at": "rootfs"}),
        json!({"do": "file", "at": "bundle/config.json", "content": config, "mode": 0o600}),
        json!({"do": "oci", "runtime": "runc", "path": "/usr/sbin/runc", "bundle": "bundle", "stdio": stdio,
            "stop": {"signal": 15, "deadlineMs": 1000}}),
    ]
}

fn start(lab: &Lab, steps: &[Value], on_exit: &str) -> Warden {
    let mut warden = Warden::start(lab, Stdio::null(), Stdio::null(), Stdio::inherit());
    let (ground, launch) = steps.split_at(steps.len() - 1);
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(json!(ground)), "onExit": on_exit}));
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(json!(launch))}));
    warden.owner().ok(json!({"op": "start"}));
    warden
}

#[test]
fn a_container_runs_in_the_sandboxs_network_and_leaves_nothing() {
    for tree in ["overlay", "copy"] {
        let lab = Lab::new();
        let script = "echo hi; echo IF $(/bin/busybox ls /proc/sys/net/ipv4/conf); echo bad >&2; exit 5";
        let mut warden = start(&lab, &steps(&lab, script, false, tree), "keep");
        assert_eq!(warden.end()["exitCode"], 5);
        let log = log_of(&lab.dir());
        assert!(
            log.contains("stdout F hi\n") && log.contains("stderr F bad\n"),
            "{log}"
        );
        assert!(log.contains("IF all default lo\n"), "{log}");
        assert_eq!(warden.exit(), 5);
        lab.undo();
        assert_eq!(lab.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_container_has_a_terminal() {
    let lab = Lab::new();
    let mut warden = start(
        &lab,
        &steps(&lab, "/bin/busybox stty size; /bin/busybox tty", true, "overlay"),
        "keep",
    );
    assert_eq!(warden.end()["exitCode"], 0);
    let log = log_of(&lab.dir());
    assert!(log.contains("11 22") && log.contains("/dev/pts/0"), "{log}");
}

#[test]
fn stop_pause_and_force() {
    let lab = Lab::new();
    let script = "trap 'exit 9' TERM; while :; do /bin/busybox sleep 0.05; done";
    let mut warden = start(&lab, &steps(&lab, script, false, "overlay"), "remove");
    warden.owner().ok(json!({"op": "pause"}));
    warden.owner().ok(json!({"op": "resume"}));
    std::thread::sleep(Duration::from_millis(100));
    let exit = warden.owner().ok(json!({"op": "stop", "timeoutMs": 5000}));
    assert_eq!(exit["exitCode"], 9);
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());

    let lab = Lab::new();
    let mut warden = start(
        &lab,
        &steps(&lab, "/bin/busybox sleep 1000", false, "overlay"),
        "keep",
    );
    warden.owner().ok(json!({"op": "pause"}));
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn the_runtimes_own_words_are_the_error() {
    let lab = Lab::new();
    let mut steps = steps(&lab, "", false, "overlay");
    steps[3]["content"] = json!("e30=");
    let mut warden = lab.warden();
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": lab.plan(json!(steps)), "onExit": "keep"}));
    assert_eq!(error["step"], "oci");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("runc cannot create the container: "),
        "{error}"
    );
    assert!(
        !error["message"].as_str().unwrap().contains("exit status"),
        "{error}"
    );
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_undo_does_not_find() {
    for round in 0..12u64 {
        let lab = Lab::new();
        let steps = steps(&lab, "/bin/busybox sleep 1000", false, "overlay");
        let mut warden = lab.warden();
        warden
            .owner()
            .send(json!({"op": "prepare", "plan": lab.plan(json!(steps)), "onExit": "keep"}));
        std::thread::sleep(Duration::from_millis(round * 7));
        warden.kill();
        assert_eq!(lab.undo(), json!({"ok": {}}), "round {round}");
        lab.wait_gone();
    }
}
