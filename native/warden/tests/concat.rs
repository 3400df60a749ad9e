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

/// A layer with a directory `etc`, and a ground whose overlay is made of it.
fn overlaid(lab: &Lab, layer: &std::path::Path) -> serde_json::Value {
    let mut steps = ground(lab);
    let overlay = json!({"do": "overlay", "lowers": [layer], "at": "rootfs"});
    steps.as_array_mut().unwrap().insert(0, overlay);
    lab.plan(steps)
}

#[test]
fn files_for_a_tree_of_layers_change_no_layer() {
    let lab = Lab::new();
    let layer = lab.root.join("layer");
    std::fs::create_dir_all(layer.join("etc")).unwrap();
    std::fs::write(layer.join("etc/hosts"), b"the layer's").unwrap();
    symlink("/nowhere", layer.join("etc/resolv.conf")).unwrap();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": overlaid(&lab, &layer), "onExit": "keep"}));
    let launch = lab.plan(json!([
        {"do": "directory", "at": "rootfs/etc", "mode": 0o755},
        {"do": "file", "at": "rootfs/etc/resolv.conf", "content": "YQ==", "mode": 0o644},
        {"do": "directory", "at": "rootfs/.tripod", "mode": 0o755},
        {"do": "concat", "at": "rootfs/.tripod/init", "mode": 0o755, "parts": [{"from": layer.join("etc/hosts")}]},
        spawn("exit 0"),
    ]));
    warden.owner().ok(json!({"op": "launch", "plan": launch}));
    let upper = lab.dir().join("rootfs.rw/upper");
    assert_eq!(std::fs::read(upper.join("etc/resolv.conf")).unwrap(), b"a");
    assert_eq!(std::fs::read(upper.join(".tripod/init")).unwrap(), b"the layer's");
    assert!(
        std::fs::symlink_metadata(layer.join("etc/resolv.conf"))
            .unwrap()
            .is_symlink()
    );
    assert!(!layer.join(".tripod").exists());
    warden.owner().ok(json!({"op": "start"}));
    warden.end();
    warden.exit();
    assert_eq!(lab.undo(), json!({"ok": {}}));
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn a_link_in_a_layer_leads_no_file_out_of_its_tree() {
    let lab = Lab::new();
    let (layer, outside) = (lab.root.join("layer"), lab.root.join("outside"));
    std::fs::create_dir_all(&layer).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    symlink(&outside, layer.join("etc")).unwrap();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": overlaid(&lab, &layer), "onExit": "keep"}));
    let launch = lab.plan(json!([
        {"do": "file", "at": "rootfs/etc/resolv.conf", "content": "YQ==", "mode": 0o644},
    ]));
    let error = warden.owner().error(json!({"op": "launch", "plan": launch}));
    assert_eq!(
        (&error["step"], &error["errno"]),
        (&json!("file"), &json!("ELOOP"))
    );
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    warden.owner().ok(json!({"op": "delete", "force": false}));
    warden.exit();
    lab.wait_gone();
}
