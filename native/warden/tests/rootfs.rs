//! The root file system that an engine describes: mounted on the host while the sandbox is there, and taken away with it.

mod harness;

use harness::*;
use serde_json::{Value, json};
use std::path::Path;

fn is_mounted(at: &Path) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4) == at.to_str())
}

/// Two layers of which one lies over the other.
fn step(lab: &Lab, at: &Path) -> Value {
    let tree = |name: &str, file: &str| {
        let dir = lab.root.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(file), name).unwrap();
        dir.display().to_string()
    };
    let (lower, upper) = (tree("lower", "below"), tree("upper", "above"));
    let work = lab.root.join("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::create_dir_all(at).unwrap();
    let options = [
        format!("lowerdir={lower}"),
        format!("upperdir={upper}"),
        format!("workdir={}", work.display()),
    ];
    json!({"do": "rootfs", "at": at, "mounts": [{"type": "overlay", "source": "overlay", "options": options}]})
}

#[test]
fn it_is_seen_on_the_host_and_gone_with_the_sandbox() {
    let lab = Lab::new();
    let at = lab.root.join("bundle");
    let mut warden = lab.warden();
    let plan = lab.plan(json!([step(&lab, &at)]));
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": plan, "onExit": "keep"}));
    assert!(is_mounted(&at));
    for (file, text) in [("below", "lower"), ("above", "upper")] {
        assert_eq!(std::fs::read_to_string(at.join(file)).unwrap(), text);
    }
    // Undone, it can be had anew.
    warden.owner().ok(json!({"op": "undo"}));
    assert!(!is_mounted(&at));
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": plan, "onExit": "keep"}));
    assert!(is_mounted(&at));
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    assert!(!is_mounted(&at));
}

#[test]
fn what_cannot_be_mounted_is_told_and_nothing_stays() {
    for bad in [
        json!({"type": "overlay", "source": "overlay", "options": ["lowerdir=/does/not/exist"]}),
        json!({"type": "nosuchfs", "source": "none", "options": []}),
        json!({"type": "bind", "source": "/does/not/exist", "options": ["rbind"]}),
        json!({"type": "overlay", "source": "overlay", "options": [format!("lowerdir=/{}", "x".repeat(5000))]}),
    ] {
        let lab = Lab::new();
        let at = lab.root.join("bundle");
        let good = step(&lab, &at)["mounts"][0].clone();
        let mut warden = lab.warden();
        let plan = lab.plan(json!([{"do": "rootfs", "at": at, "mounts": [good, bad]}]));
        let error = warden
            .owner()
            .error(json!({"op": "prepare", "plan": plan, "onExit": "keep"}));
        assert!(
            error["message"].as_str().unwrap().contains(at.to_str().unwrap()),
            "{error}"
        );
        assert!(!is_mounted(&at), "{bad}");
        warden.owner().ok(json!({"op": "delete", "force": true}));
        warden.exit();
    }
}
