//! Files and bytes joined to one file: what comes of them, what is refused, and that nothing stays.

mod harness;

use harness::*;
use serde_json::json;
use std::os::unix::fs::{MetadataExt, symlink};

#[test]
fn every_part_begins_on_a_boundary_of_four_bytes() {
    let lab = Lab::new();
    let part = lab.root.join("part");
    std::fs::write(&part, b"12345").unwrap();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    let launch = lab.plan(json!([
        {"do": "concat", "at": "initrd", "mode": 0o444, "parts": [
            {"content": "YQ=="}, {"from": part}, {"content": ""}, {"from": part}, {"content": "Yg=="}]},
        spawn("exit 0"),
    ]));
    warden.owner().ok(json!({"op": "launch", "plan": launch}));
    let joined = lab.dir().join("initrd");
    assert_eq!(
        std::fs::read(&joined).unwrap(),
        b"a\0\0\x0012345\0\0\x0012345\0\0\0b"
    );
    assert_eq!(std::fs::metadata(&joined).unwrap().mode() & 0o7777, 0o444);
    warden.owner().ok(json!({"op": "start"}));
    warden.end();
    warden.exit();
    assert!(!joined.exists(), "it goes with the guest");
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    for name in ["link", "fifo", "directory", "missing"] {
        let lab = Lab::new();
        let part = lab.root.join(name);
        match name {
            "link" => symlink("/etc/passwd", &part).unwrap(),
            "fifo" => rustix::fs::mkfifoat(rustix::fs::CWD, &part, rustix::fs::Mode::RUSR).unwrap(),
            "directory" => std::fs::create_dir(&part).unwrap(),
            _ => {}
        }
        let mut warden = lab.warden();
        warden
            .owner()
            .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
        let launch =
            lab.plan(json!([{"do": "concat", "at": "initrd", "mode": 0o444, "parts": [{"from": part}]}]));
        let error = warden.owner().error(json!({"op": "launch", "plan": launch}));
        assert_eq!(
            (&error["code"], &error["step"]),
            (&json!("step-failed"), &json!("concat")),
            "{error}"
        );
        warden.owner().ok(json!({"op": "delete", "force": false}));
        warden.exit();
        lab.wait_gone();
    }
}
