//! Paths out of a tree that others can change: what was a file when it was looked at may be a link by the time it is opened.

mod harness;

use harness::{Lab, ground, spawn};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

/// Outlives the labs, each of which is for one sandbox.
struct Tree(std::path::PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A tree with a file, a link to its directory, a link to the file and a FIFO.
fn new_tree(name: &str) -> Tree {
    let tree = std::env::temp_dir().join(format!("tripod-{name}-{}", std::process::id()));
    std::fs::create_dir_all(tree.join("boot")).unwrap();
    std::fs::write(tree.join("boot/kernel"), b"kernel").unwrap();
    symlink("boot", tree.join("linked")).unwrap();
    symlink("boot/kernel", tree.join("kernel")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    Tree(tree)
}

fn launched(step: Value) -> Result<(), Value> {
    let lab = &Lab::new();
    let mut warden = lab.warden();
    let steps = lab.plan(ground(lab));
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": steps, "onExit": "keep"}));
    let launch = lab.plan(json!([step, spawn("exit 0")]));
    let answer = warden.owner().ask(json!({"op": "launch", "plan": launch}));
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    lab.wait_gone();
    match answer.get("error") {
        Some(error) => Err(error.clone()),
        None => Ok(()),
    }
}

#[test]
fn a_link_that_came_in_between_is_not_followed() {
    let tree = new_tree("nofollow");
    let opened = |path: &str, nofollow: bool| json!({"do": "open", "name": "k", "path": tree.0.join(path), "write": false, "nofollow": nofollow});
    let bound = |path: &str, nofollow: bool| {
        json!({"do": "bind", "from": tree.0.join(path), "at": "/kernel", "readonly": true, "noexec": true, "recursive": false,
            "nofollow": nofollow})
    };
    let joined = |path: &str, nofollow: bool| json!({"do": "concat", "at": "initrd", "mode": 0o444, "parts": [{"from": tree.0.join(path), "nofollow": nofollow}]});
    let makers: [&dyn Fn(&str, bool) -> Value; 3] = [&opened, &bound, &joined];
    for make in makers {
        assert_eq!(launched(make("boot/kernel", true)), Ok(()));
        assert_eq!(launched(make("linked/kernel", false)), Ok(()));
        for path in ["linked/kernel", "kernel"] {
            let error = launched(make(path, true)).unwrap_err();
            assert_eq!(error["errno"], "ELOOP", "{error}");
        }
    }
}

#[test]
fn a_fifo_that_came_in_between_is_not_opened_for_a_monitor() {
    let tree = new_tree("fifo");
    let step =
        json!({"do": "open", "name": "k", "path": tree.0.join("fifo"), "write": false, "nofollow": true});
    let error = launched(step).unwrap_err();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("is not a regular file"),
        "{error}"
    );
}
