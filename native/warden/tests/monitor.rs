//! A spawned program: its way in, its confinement, its way out.

mod harness;

use harness::*;
use serde_json::json;

fn run(lab: &Lab, launch: serde_json::Value, on_exit: &str) -> (Warden, serde_json::Value) {
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(lab)), "onExit": on_exit}));
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    let started = warden.owner().ok(json!({"op": "start"}));
    (warden, started)
}

#[test]
fn a_program_runs_and_its_status_is_the_wardens() {
    let lab = Lab::new();
    let (mut warden, started) = run(&lab, json!([spawn("echo out; echo err >&2; exit 7")]), "keep");
    assert!(started["pid"].as_i64().unwrap() > 1);
    let mut exit = warden.end();
    exit.as_object_mut().unwrap().remove("event");
    assert_eq!(exit["exitCode"], 7);
    assert_eq!(exit["oomKilled"], false);
    assert_eq!(warden.exit(), 7);
    let log = log_of(&lab.dir());
    assert!(
        log.contains(" stdout F out\n") && log.contains(" stderr F err\n"),
        "{log}"
    );
    let state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.dir().join("state.json")).unwrap()).unwrap();
    assert_eq!(state["status"], "stopped");
    assert_eq!(state["exit"], exit);
    assert_eq!(lab.undo(), json!({"ok": {}}));
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn the_owner_is_told_of_the_end_and_nothing_is_left_when_so_asked() {
    let lab = Lab::new();
    let (mut warden, _) = run(&lab, json!([spawn("kill -9 $$; sleep 1; exit 3")]), "remove");
    warden.end();
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}
