//! The warden killed at any moment: `undo` then leaves nothing.

mod harness;

use harness::*;
use serde_json::{Value, json};
use std::time::Duration;

/// A sandbox with everything that a monitor's plan can leave behind, its start included.
fn steps(lab: &Lab) -> Vec<Value> {
    let mut steps = ground(lab).as_array().unwrap().clone();
    steps.extend([
        json!({"do": "directory", "at": "files", "mode": 0o755}),
        json!({"do": "file", "at": "files/0", "content": "aGk=", "mode": 0o444}),
        json!({"do": "overlay", "lowers": [lab.root.join("lower")], "at": "rootfs"}),
        bind_busybox(),
        json!({"do": "mount", "type": "proc", "at": "/proc", "options": []}),
        json!({"do": "device", "from": "/dev/null", "at": "/dev/null"}),
        json!({"do": "tap", "name": "tap0", "mtu": 1500}),
        // A child that leaves the monitor's session must go too.
        spawn(&format!(
            "/bin/busybox setsid /bin/busybox sleep 1000 {} & exec /bin/busybox sleep 1000",
            lab.id
        )),
    ]);
    std::fs::create_dir_all(lab.root.join("lower/sub")).unwrap();
    steps
}

#[test]
fn killed_after_any_step_it_leaves_nothing_that_undo_does_not_find() {
    let count = steps(&Lab::new()).len();
    for done in 0..=count + 1 {
        let lab = Lab::new();
        let steps = steps(&lab);
        let mut warden = lab.warden();
        if done <= count {
            let plan = lab.plan(json!(steps[..done]));
            warden
                .owner()
                .ok(json!({"op": "prepare", "plan": plan, "onExit": "keep"}));
        } else {
            let (ground, launch) = steps.split_at(3);
            warden
                .owner()
                .ok(json!({"op": "prepare", "plan": lab.plan(json!(ground)), "onExit": "keep"}));
            warden
                .owner()
                .ok(json!({"op": "launch", "plan": lab.plan(json!(launch))}));
            warden.owner().ok(json!({"op": "start"}));
        }
        warden.kill();
        assert_eq!(lab.undo(), json!({"ok": {}}), "after {done} steps");
        lab.wait_gone();
        assert_eq!(lab.undo(), json!({"ok": {}}), "a second time");
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_undo_does_not_find() {
    for round in 0..40u64 {
        let lab = Lab::new();
        let steps = steps(&lab);
        let mut warden = lab.warden();
        let (ground, launch) = steps.split_at(3);
        warden
            .owner()
            .send(json!({"op": "prepare", "plan": lab.plan(json!(ground)), "onExit": "keep"}));
        warden
            .owner()
            .send(json!({"op": "launch", "plan": lab.plan(json!(launch))}));
        warden.owner().send(json!({"op": "start"}));
        std::thread::sleep(Duration::from_micros(round * 500));
        warden.kill();
        assert_eq!(lab.undo(), json!({"ok": {}}), "round {round}");
        lab.wait_gone();
    }
}

#[test]
fn a_living_warden_is_not_undone() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    warden.owner().ok(json!({"op": "state"}));
    // Undo waits for a dying warden; this one lives on.
    let undo = lab.undo();
    assert_eq!(undo["error"]["code"], "not-allowed", "{undo}");
    assert!(lab.dir().exists());
}

#[test]
fn a_damaged_journal_is_told_and_touches_nothing_of_others() {
    let lab = Lab::new();
    let line = r#"{"n":0,"begin":"cgroup","path":"/somebody-else"}"#;
    std::fs::write(lab.dir().join("journal"), format!("{line}\n")).unwrap();
    let undo = lab.undo();
    assert!(
        undo["error"]["message"]
            .as_str()
            .unwrap()
            .contains("somebody-else"),
        "{undo}"
    );
    std::fs::write(
        lab.dir().join("journal"),
        "{\"n\":0,\"begin\":\"run\",\"argv\":[\"/bin/true\"]}\n",
    )
    .unwrap();
    let undo = lab.undo();
    assert!(
        undo["error"]["message"].as_str().unwrap().contains("damaged"),
        "{undo}"
    );
    std::fs::remove_file(lab.dir().join("journal")).unwrap();
    assert_eq!(lab.undo(), json!({"ok": {}}));
}

#[test]
fn a_hostile_tree_is_removed_without_leaving_the_state_directory() {
    let lab = Lab::new();
    let outside = lab.root.join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("precious"), "").unwrap();
    std::os::unix::fs::symlink(&outside, lab.dir().join("link")).unwrap();
    // Deeper than any descriptor limit.
    let mut command = std::process::Command::new(BUSYBOX);
    command
        .args([
            "sh",
            "-c",
            "for i in $(seq 1500); do /bin/busybox mkdir d && cd -P ./d || exit 1; done",
        ])
        .current_dir(lab.dir());
    assert!(command.status().unwrap().success());
    assert_eq!(lab.undo(), json!({"ok": {}}));
    assert_eq!(lab.leftovers(), Vec::<String>::new());
    assert!(outside.join("precious").exists());
}

#[test]
fn a_name_that_another_sandbox_holds_stays() {
    let lab = Lab::new();
    std::fs::write(lab.name_file(), "another").unwrap();
    assert_eq!(lab.undo(), json!({"ok": {}}));
    assert!(lab.name_file().exists());
}
