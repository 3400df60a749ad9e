//! A client that sends nonsense harms nobody but itself.

mod harness;

use harness::*;
use serde_json::json;

#[test]
fn nonsense_is_answered_and_the_warden_lives_on() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    let mut stranger = connect(&lab);
    for bad in [
        &b"{}\n"[..],
        b"nonsense\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"{\"id\":5,\"op\":\"fly\"}\n",
        b"{\"id\":6,\"op\":\"resize\",\"rows\":-1,\"cols\":1}\n",
    ] {
        stranger.send_raw(bad);
        let answer = stranger.line().unwrap();
        assert_eq!(answer["error"]["code"], "bad-request", "{answer}");
    }
    stranger.send_raw(b"{\"id\":7,\"op\":\"fly\"}\n");
    assert_eq!(stranger.line().unwrap()["id"], 7);
    for verb in ["start", "pause", "resume", "launch"] {
        let request = json!({"op": verb, "plan": lab.plan(json!([]))});
        let error = warden.owner().error(request);
        let wanted = if verb == "launch" {
            "bad-request"
        } else {
            "not-allowed"
        };
        assert_eq!(error["code"], wanted, "{verb}: {error}");
    }
}

#[test]
fn an_endless_line_ends_its_connection_alone() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    let mut stranger = connect(&lab);
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..6 {
        stranger.send_raw(&chunk);
    }
    assert_eq!(
        stranger.line().map(|line| line["error"]["code"].clone()),
        Some(json!("bad-request"))
    );
    assert_eq!(warden.owner().ok(json!({"op": "state"}))["status"], "creating");
}

#[test]
fn a_plan_for_another_sandbox_is_refused() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    let plan = json!({"version": 1, "id": "another", "steps": []});
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": plan, "onExit": "keep"}));
    assert_eq!(error["code"], "bad-request");
}

#[test]
fn one_state_directory_has_one_warden() {
    let lab = Lab::new();
    let mut first = lab.warden();
    first.owner().ok(json!({"op": "state"}));
    let mut second = lab.warden();
    assert_eq!(second.owner().line().unwrap()["error"]["code"], "not-allowed");
    assert_eq!(second.exit(), 125);
    first.owner().ok(json!({"op": "state"}));
}

#[test]
fn a_state_directory_deeper_than_a_sockets_address_serves() {
    let mut lab = Lab::new();
    let short = lab.root.clone();
    lab.root = short.join("x".repeat(120));
    std::fs::create_dir_all(lab.dir()).unwrap();
    let mut warden = lab.warden();
    assert_eq!(warden.owner().ok(json!({"op": "state"}))["id"], json!(lab.id));
    warden.owner().ok(json!({"op": "delete", "force": false}));
    warden.exit();
    lab.root = short;
}

#[test]
fn no_descriptor_leaks_into_the_warden() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    let launch = json!([bind_busybox(), spawn("/bin/busybox sleep 1000")]);
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    warden.owner().ok(json!({"op": "start"}));
    let count = || {
        std::fs::read_dir(format!("/proc/{}/fd", warden.child.id()))
            .unwrap()
            .count()
    };
    let before = count();
    for _ in 0..20 {
        let mut client = connect(&lab);
        client.ok(json!({"op": "state"}));
    }
    until("the connections are closed", || {
        if count() == before { Ok(()) } else { Err(count()) }
    });
    // 0-2, owner, signals, listener, lock, journal, two directories, host netns and mounts, stage, its pidfd, two pipes, the log and its directory.
    assert!(before <= 18, "{before}");
}

#[test]
fn term_to_the_warden_stops_what_runs_and_gives_up_what_does_not() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "remove"}));
    signal(&warden, 15);
    assert_eq!(warden.exit(), 128 + 15);
    assert_eq!(lab.leftovers(), Vec::<String>::new());

    let lab = Lab::new();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "remove"}));
    let script = "trap 'exit 3' TERM; echo ready; while :; do /bin/busybox sleep 0.01; done";
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(json!([bind_busybox(), spawn(script)]))}));
    warden.owner().ok(json!({"op": "start"}));
    until("the program listens", || {
        if log_of(&lab.dir()).contains("ready") {
            Ok(())
        } else {
            Err(())
        }
    });
    signal(&warden, 15);
    assert_eq!(warden.exit(), 3);
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

fn signal(warden: &Warden, signal: i32) {
    // SAFETY: no memory is passed; the pid is of a child that has not been waited for.
    unsafe { libc::kill(warden.pid(), signal) };
}
