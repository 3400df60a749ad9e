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
    start_with(lab, steps, on_exit, Stdio::null())
}

fn start_with(lab: &Lab, steps: &[Value], on_exit: &str, stdout: Stdio) -> Warden {
    let mut warden = Warden::start(lab, Stdio::null(), stdout, Stdio::inherit());
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
fn a_reader_that_leaves_ends_the_writer_as_in_a_pipeline() {
    for terminal in [false, true] {
        let lab = Lab::new();
        let mut steps = steps(&lab, "while echo y; do :; done; exit 3", terminal, "overlay");
        steps[4]["stdio"]["tee"] = json!(true);
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut warden = start_with(&lab, &steps, "keep", writer.into());
        drop(reader);
        // On a terminal it is hung up, which even a first process is told by its writes.
        assert_eq!(warden.end()["exitCode"], 3, "terminal: {terminal}");
    }
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

#[test]
fn a_program_that_is_not_in_the_image_is_told_as_such() {
    let lab = Lab::new();
    let mut steps = steps(&lab, "", false, "overlay");
    let config = steps[3]["content"].as_str().unwrap();
    let config = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, config).unwrap();
    let config = String::from_utf8(config)
        .unwrap()
        .replace("/bin/busybox", "/bin/nothing");
    steps[3]["content"] = json!(base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        config
    ));
    let mut warden = lab.warden();
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": lab.plan(json!(steps)), "onExit": "keep"}));
    assert_eq!(
        (&error["code"], &error["errno"]),
        (&json!("exec-failed"), &json!("ENOENT")),
        "{error}"
    );
}

#[test]
fn overlay_and_copy_make_the_same_tree() {
    let script = "cd /; for f in gone dir/old dir/new same; do [ -e $f ] && echo HAS $f; done; \
        echo LINKS $(/bin/busybox stat -c %h twin); echo MODE $(/bin/busybox stat -c '%a %u:%g' twin); \
        echo TEXT $(/bin/busybox cat same); echo LINK $(/bin/busybox readlink link)";
    let mut seen = Vec::new();
    for tree in ["overlay", "copy"] {
        let lab = Lab::new();
        let mut steps = steps(&lab, script, false, tree);
        let (lower, upper) = (lab.root.join("lower"), lab.root.join("upper"));
        std::fs::create_dir_all(lower.join("dir")).unwrap();
        std::fs::create_dir_all(upper.join("dir")).unwrap();
        std::fs::write(lower.join("dir/old"), "").unwrap();
        std::fs::write(upper.join("dir/new"), "").unwrap();
        std::fs::write(lower.join("same"), "lower").unwrap();
        std::fs::write(upper.join("same"), "upper").unwrap();
        std::fs::hard_link(upper.join("same"), upper.join("twin")).unwrap();
        std::os::unix::fs::chown(upper.join("same"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::symlink("/nowhere", upper.join("link")).unwrap();
        let shell = |command: &str| {
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", command])
                .current_dir(&upper)
                .status();
            assert!(status.unwrap().success(), "{command}");
        };
        shell("chmod 4755 same && mknod gone c 0 0");
        rustix::fs::setxattr(
            upper.join("dir"),
            "trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        steps[2]["lowers"] = json!([upper, lower]);
        let mut warden = start(&lab, &steps, "keep");
        assert_eq!(warden.end()["exitCode"], 0);
        let text: Vec<String> = log_of(&lab.dir())
            .lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap_or("").to_string())
            .collect();
        assert_eq!(
            text,
            [
                "HAS dir/new",
                "HAS same",
                "LINKS 2",
                "MODE 4755 12:34",
                "TEXT upper",
                "LINK /nowhere"
            ]
        );
        seen.push(text);
    }
    assert_eq!(seen[0], seen[1]);
}
