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

#[test]
fn the_program_is_stripped_of_everything() {
    let lab = Lab::new();
    let script = "/bin/busybox cat /proc/self/status; echo FDS $(/bin/busybox ls /proc/self/fd); \
        echo ROOT $(/bin/busybox ls /); echo ENV $(/bin/busybox env); echo HOST $(/bin/busybox hostname); \
        /bin/busybox mkdir /x && echo WRITABLE; echo NET $(/bin/busybox ls /sys/class/net 2>&1); \
        echo PROCS $(/bin/busybox ls /proc | /bin/busybox grep -c '^[0-9]'); \
        echo NULL $(/bin/busybox wc -c < /dev/null)";
    // Allow all: what counts is that a filter is there.
    let allow_all = "BgAAAAAA/38=";
    let more = json!({"seccomp": allow_all, "rlimits": [{"type": "nofile", "soft": 100, "hard": 100}],
        "maskedPaths": ["/proc/keys", "/proc/no-such"], "readonlyPaths": ["/proc/sys"], "oomScoreAdj": 100});
    let launch = json!([
        bind_busybox(),
        {"do": "mount", "type": "proc", "at": "/proc", "options": []},
        {"do": "device", "from": "/dev/null", "at": "/dev/null"},
        spawn_with(script, more),
    ]);
    let (mut warden, _) = run(&lab, launch, "keep");
    assert_eq!(warden.end()["exitCode"], 0);
    let log = log_of(&lab.dir());
    for wanted in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Uid:\t4242\t4242\t4242\t4242",
        "Gid:\t4243\t4243\t4243\t4243",
        "FDS 0 1 2 3\n", // 3 is ls's own
        "ROOT bin dev proc\n",
        "HOST sandbox\n",
        "NULL 0\n",
    ] {
        assert!(log.contains(wanted), "{wanted:?} in {log}");
    }
    assert!(!log.contains("WRITABLE"), "{log}");
    assert!(log.contains("ENV") && !log.contains("CARGO"), "{log}");
    warden.exit();
    lab.undo();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn descriptors_come_at_their_numbers_and_no_other() {
    let lab = Lab::new();
    std::fs::write(lab.root.join("hello"), "hello\n").unwrap();
    let script = "/bin/busybox cat <&7; /bin/busybox cat <&200; echo FDS $(/bin/busybox ls /proc/self/fd)";
    let file = lab.root.join("hello");
    let launch = json!([
        bind_busybox(),
        {"do": "mount", "type": "proc", "at": "/proc", "options": []},
        {"do": "open", "name": "a", "path": file, "write": false},
        {"do": "open", "name": "b", "path": file, "write": false},
        {"do": "open", "name": "unused", "path": file, "write": false},
        spawn_with(script, json!({"fds": [{"name": "a", "at": 200}, {"name": "b", "at": 7}]})),
    ]);
    let (mut warden, _) = run(&lab, launch, "keep");
    warden.end();
    let log = log_of(&lab.dir());
    assert!(
        log.matches("F hello\n").count() == 2 && log.contains("FDS 0 1 2 200 3 7\n"),
        "{log}"
    );
}

#[test]
fn a_program_that_cannot_be_executed_is_told_and_undone() {
    let lab = Lab::new();
    let not_a_program = lab.root.join("text");
    std::fs::write(&not_a_program, "no ELF").unwrap();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    let launch = json!([spawn_with("", json!({"program": not_a_program}))]);
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    let error = warden.owner().error(json!({"op": "start"}));
    assert_eq!(error["code"], "exec-failed");
    assert_eq!(error["errno"], "EACCES", "{error}");
    assert!(error["message"].as_str().unwrap().contains("/text"), "{error}");
    assert_eq!(
        warden.owner().error(json!({"op": "start"}))["code"],
        "not-allowed"
    );
    drop(warden.owner.take());
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn a_failed_step_is_named_and_everything_before_it_undone() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    let mut steps = ground(&lab);
    steps
        .as_array_mut()
        .unwrap()
        .push(json!({"do": "open", "name": "k", "path": "/no/such", "write": false}));
    let error = warden
        .owner()
        .error(json!({"op": "prepare", "plan": lab.plan(steps), "onExit": "keep"}));
    assert_eq!(
        (&error["code"], &error["step"]),
        (&json!("step-failed"), &json!("open"))
    );
    assert_eq!((&error["index"], &error["errno"]), (&json!(3), &json!("ENOENT")));
    warden.owner().ok(json!({"op": "delete", "force": false}));
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn a_symlink_in_a_bound_tree_redirects_no_mount() {
    let lab = Lab::new();
    let tree = lab.root.join("tree");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc", tree.join("escape")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("etc/file")).unwrap();
    for (at, errno) in [("/tree/escape/x", "ELOOP"), ("/tree/etc/file", "ELOOP")] {
        let mut warden = lab.warden();
        let mut steps = ground(&lab);
        let steps_list = steps.as_array_mut().unwrap();
        steps_list.push(json!({"do": "bind", "from": tree, "at": "/tree", "readonly": false, "noexec": true, "recursive": false}));
        steps_list.push(json!({"do": "bind", "from": "/dev/null", "at": at, "readonly": true, "noexec": true, "recursive": false}));
        let error = warden
            .owner()
            .error(json!({"op": "prepare", "plan": lab.plan(steps), "onExit": "keep"}));
        assert_eq!(error["errno"], errno, "{at}: {error}");
        assert_eq!(error["index"], 4);
        // The next warden finds what a killed one leaves, its socket too.
        warden.kill();
    }
    assert!(
        std::fs::read_dir(tree.join("etc")).unwrap().count() == 1,
        "nothing was made in the host's tree"
    );
}

#[test]
fn the_owners_leaving_before_start_undoes_everything() {
    let lab = Lab::new();
    let mut warden = lab.warden();
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(json!([spawn("sleep 100")]))}));
    drop(warden.owner.take());
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn a_running_sandbox_outlives_its_owner_and_serves_others() {
    let lab = Lab::new();
    let (mut warden, _) = run(
        &lab,
        json!([bind_busybox(), spawn("while :; do /bin/busybox sleep 0.01; done")]),
        "remove",
    );
    drop(warden.owner.take());
    let mut client = connect(&lab);
    assert_eq!(client.ok(json!({"op": "state"}))["status"], "running");
    assert_eq!(
        client.error(json!({"op": "delete", "force": false}))["code"],
        "not-allowed"
    );
    client.ok(json!({"op": "pause"}));
    assert_eq!(client.ok(json!({"op": "state"}))["status"], "paused");
    assert_eq!(client.error(json!({"op": "pause"}))["code"], "not-allowed");
    client.ok(json!({"op": "resume"}));
    // A shell that is process 1 of its namespace ignores TERM: the deadline ends it.
    let exit = client.ok(json!({"op": "stop", "timeoutMs": 50}));
    assert_eq!((&exit["exitCode"], &exit["signal"]), (&json!(137), &json!(9)));
    assert_eq!(warden.exit(), 137);
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn force_deletes_a_frozen_sandbox() {
    let lab = Lab::new();
    let (mut warden, _) = run(
        &lab,
        json!([bind_busybox(), spawn("/bin/busybox sleep 1000")]),
        "keep",
    );
    warden.owner().ok(json!({"op": "pause"}));
    warden.owner().ok(json!({"op": "delete", "force": true}));
    warden.exit();
    assert_eq!(lab.leftovers(), Vec::<String>::new());
}

#[test]
fn want_of_memory_is_told() {
    let lab = Lab::new();
    let script = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let (mut warden, _) = run(&lab, json!([spawn(script)]), "remove");
    let exit = warden.end();
    assert_eq!(
        (&exit["exitCode"], &exit["oomKilled"]),
        (&json!(137), &json!(true))
    );
}

#[test]
fn no_byte_of_output_is_lost_however_slow_the_reader() {
    let lab = Lab::new();
    let mut warden = Warden::start(
        &lab,
        std::process::Stdio::null(),
        std::process::Stdio::piped(),
        std::process::Stdio::null(),
    );
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "remove"}));
    let stdio =
        json!({"terminal": false, "stdin": "null", "tee": true, "log": {"maxBytes": 1 << 20, "files": 2}});
    let script = "/bin/busybox seq 1 200000; echo last";
    let launch = json!([bind_busybox(), spawn_with(script, json!({"stdio": stdio}))]);
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    warden.owner().ok(json!({"op": "start"}));
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut out = String::new();
    std::io::Read::read_to_string(&mut warden.child.stdout.take().unwrap(), &mut out).unwrap();
    let wanted: String = (1..=200_000).map(|n| format!("{n}\n")).collect::<String>() + "last\n";
    assert!(out == wanted, "{} bytes of {}", out.len(), wanted.len());
    assert_eq!(warden.exit(), 0);
}

#[test]
fn a_terminal_has_a_size_and_takes_keys() {
    let lab = Lab::new();
    let mut warden = Warden::start(
        &lab,
        std::process::Stdio::piped(),
        std::process::Stdio::null(),
        std::process::Stdio::null(),
    );
    warden
        .owner()
        .ok(json!({"op": "prepare", "plan": lab.plan(ground(&lab)), "onExit": "keep"}));
    let stdio = json!({"terminal": true, "rows": 33, "cols": 77, "stdin": "inherit", "tee": false, "log": {"maxBytes": 0, "files": 1}});
    let script =
        "/bin/busybox stty size; read a; echo got $a; read b; /bin/busybox stty size; read c || echo end";
    let launch = json!([bind_busybox(), spawn_with(script, json!({"stdio": stdio}))]);
    warden
        .owner()
        .ok(json!({"op": "launch", "plan": lab.plan(launch)}));
    warden.owner().ok(json!({"op": "start"}));
    let mut keys = warden.child.stdin.take().unwrap();
    use std::io::Write;
    keys.write_all(b"hello\n").unwrap();
    until("the echo", || {
        if log_of(&lab.dir()).contains("got hello") {
            Ok(())
        } else {
            Err(log_of(&lab.dir()))
        }
    });
    warden.owner().ok(json!({"op": "resize", "rows": 10, "cols": 20}));
    keys.write_all(b"\n").unwrap();
    drop(keys);
    assert_eq!(warden.end()["exitCode"], 0);
    let log = log_of(&lab.dir());
    assert!(
        log.contains("33 77") && log.contains("10 20") && log.contains("end"),
        "{log}"
    );
}

#[test]
fn a_status_that_stands_for_another_exit_code_is_told_as_that() {
    for (status, code) in [(1, 0), (3, 1), (2, 2)] {
        let lab = Lab::new();
        let script = format!("exit {status}");
        let spawn = spawn_with(&script, json!({"exitCodes": [[1, 0], [3, 1]]}));
        let (mut warden, _) = run(&lab, json!([spawn]), "keep");
        assert_eq!(warden.end()["exitCode"], code);
        assert_eq!(i32::from(warden.exit()), code);
    }
}
