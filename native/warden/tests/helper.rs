//! A program beside the monitor: confined, found by its socket, and gone with the sandbox.

mod harness;

use harness::*;
use serde_json::{Value, json};

fn helper(script: &str) -> Value {
    json!({
        "do": "helper", "program": BUSYBOX, "argv": ["sh", "-c", script], "env": ["PATH=/bin"],
        "as": {"uid": 4244, "gid": 4245, "groups": []}, "socket": "h.sock", "listensAt": 5, "connects": "served",
        "rootBytes": 65536, "proc": true, "rlimits": [{"type": "core", "soft": 0, "hard": 0}],
        "binds": [{"from": BUSYBOX, "at": "/bin/busybox", "readonly": true, "noexec": false, "recursive": false}],
    })
}

fn launched(lab: &Lab, steps: Value) -> Warden {
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(lab)), "onExit": "keep"}));
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(steps)}));
    warden.owner().ok(json!({"op": "start"}));
    warden
}

/// The processes of user 4244, and what their status says.
fn helpers() -> Vec<String> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .filter(|status| status.contains("Uid:\t4244\t4244\t4244\t4244"))
        .collect()
}

/// One test, because it counts the processes of a user.
#[test]
fn a_helper_is_confined_serves_and_ends_with_its_sandbox_and_its_sandbox_with_it() {
    let lab = Lab::new();
    let monitor = spawn_with(
        "echo FDS $(/bin/busybox ls /proc/self/fd); exec /bin/busybox sleep 1000",
        json!({"fds": [{"name": "served", "at": 3}]}),
    );
    let steps = |helper: Value| json!([helper, bind_busybox(), {"do": "mount", "type": "proc", "at": "/proc", "options": []}, monitor]);
    let mut warden = launched(&lab, steps(helper("exec /bin/busybox sleep 1000")));
    let running = helpers();
    assert_eq!(running.len(), 1);
    for line in [
        "Gid:\t4245",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(running[0].contains(line), "{line}: {}", running[0]);
    }
    until("the log", || {
        let log = log_of(&lab.dir());
        if log.contains("FDS 0 1 2 3") {
            Ok(())
        } else {
            Err(log)
        }
    });
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    assert_eq!(helpers(), Vec::<String>::new());
    assert_eq!(lab.leftovers(), Vec::<String>::new());

    // A helper that fails is a step that failed, with its last words; one that ends later takes the monitor along.
    let lab = Lab::new();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    let failing = lab.plan(steps(helper(
        "echo first >&2; echo no such directory >&2; exit 3",
    )));
    let error = warden.owner().error(json!({"op": "launch", "plan": failing}));
    assert_eq!(error["step"], "helper", "{error}");
    assert!(
        error["message"].as_str().unwrap().contains("no such directory"),
        "{error}"
    );
    drop(warden);

    let lab = Lab::new();
    let mut warden = launched(&lab, steps(helper("/bin/busybox sleep 0.3")));
    assert_eq!(warden.end()["exitCode"], 137);
    assert_eq!(helpers(), Vec::<String>::new());

    // A killed warden takes its helper along.
    let lab = Lab::new();
    let mut warden = launched(&lab, steps(helper("exec /bin/busybox sleep 1000")));
    assert_eq!(helpers().len(), 1);
    warden.kill();
    until("the helper's end", || {
        let left = helpers();
        if left.is_empty() { Ok(()) } else { Err(left.len()) }
    });
    assert_eq!(lab.undo(), json!({"ok": {}}));
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}
