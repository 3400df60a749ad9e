//! The verbs of a container that is there. Those of a sandbox of ours read what lies on disk and speak to its warden; those of another runtime's
//! container are the other runtime's.

use super::arguments::Invocation;
use super::brain::{CreateRequest, Decision};
use super::store::{self, Found, Sandbox};
use super::{Failure, Outcome, brain, control, delegate, processes, table};
use crate::options::Options;
use crate::protocol::Status;
use crate::serve::Connection;
use crate::{step, undo};
use serde_json::{Value, json};
use std::path::Path;

/// `docker exec` and `kubectl exec` take it for "the command cannot be invoked".
const CANNOT_INVOKE: u8 = 126;

fn find(invocation: &Invocation) -> Result<Found, Failure> {
    let id = invocation.id()?;
    store::find(&invocation.root, id)?.ok_or_else(|| store::does_not_exist(id))
}

/// The sandbox, or the other runtime's outcome.
fn ours_or(invocation: &Invocation) -> Result<Result<Box<Sandbox>, Outcome>, Failure> {
    match find(invocation)? {
        Found::Ours(sandbox) => {
            invocation.refuse_unknown()?;
            Ok(Ok(sandbox))
        }
        Found::Delegated(to) => Ok(Err(delegate::hand_over(&to.program, invocation))),
    }
}

macro_rules! ours {
    ($invocation:expr) => {
        match ours_or($invocation)? {
            Ok(sandbox) => sandbox,
            Err(outcome) => return outcome,
        }
    };
}

pub fn start(invocation: &Invocation) -> Outcome {
    let sandbox = ours!(invocation);
    start_sandbox(invocation, &sandbox)
}

pub fn start_sandbox(invocation: &Invocation, sandbox: &Sandbox) -> Outcome {
    match sandbox.status() {
        Status::Created => {
            if sandbox.is_unlaunched() {
                launch_on_network(invocation, sandbox)?;
            }
            control::ask(&sandbox.dir, json!({"op": "start"}))?;
            Ok(0)
        }
        Status::Stopped => Err(Failure::new(format!(
            "cannot start a container that has stopped: {}",
            sandbox.id
        ))),
        Status::Creating => Err(Failure::new(format!(
            "container {} is still being created",
            sandbox.id
        ))),
        Status::Running => Err(Failure::new(format!(
            "cannot start an already running container: {}",
            sandbox.id
        ))),
        Status::Paused => Err(Failure::new(format!(
            "cannot start a container in the paused state: {}",
            sandbox.id
        ))),
    }
}

/// An engine that fills the network between `create` and `start` has done so by now: the brain plans the launch anew. Without a network the plan of
/// the creation holds.
fn launch_on_network(invocation: &Invocation, sandbox: &Sandbox) -> Result<(), Failure> {
    let seen = control::ask(&sandbox.dir, json!({"op": "look"}))?;
    let interfaces = seen.pointer("/net/interfaces").and_then(Value::as_array);
    if interfaces.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let record = &sandbox.record;
    let request = CreateRequest {
        op: "start",
        version: 1,
        id: &sandbox.id,
        bundle: Path::new(&record.bundle),
        state_dir: sandbox.dir.path(),
        systemd_cgroup: record.systemd_cgroup,
        console: record.console,
        path: std::env::var("PATH").unwrap_or_default(),
        // A pod's network is joined, and there before its containers.
        neighbours: 0,
        guests: 0,
    };
    match brain::decide(invocation, &request)? {
        (mut brain, Decision::Sandbox(first)) => {
            let mut warden = Connection::new(control::connect(&sandbox.dir)?, 0, false);
            brain.converse(first, &mut warden)
        }
        (_, Decision::Delegate(_)) => Err(Failure::new(format!(
            "the bundle of {} is another one than at its creation",
            sandbox.id
        ))),
    }
}

/// The state of the runtime specification, and what runc adds to it.
fn state_of(sandbox: &Sandbox) -> Value {
    let record = &sandbox.record;
    json!({
        "ociVersion": record.oci_version,
        "id": sandbox.id,
        "pid": sandbox.pid(),
        "status": sandbox.status().name(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "annotations": record.annotations,
        "owner": "",
    })
}

pub fn state(invocation: &Invocation) -> Outcome {
    let sandbox = ours!(invocation);
    println!("{:#}", state_of(&sandbox));
    Ok(0)
}

/// A signal by number, by name, or by name with `SIG`. 0 asks only whether it runs.
fn signal_number(text: &str) -> Result<u8, Failure> {
    let unknown = || Failure::new(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<u8>() {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        let more: u8 = if offset.is_empty() {
            0
        } else {
            offset
                .strip_prefix('+')
                .and_then(|more| more.parse().ok())
                .ok_or_else(unknown)?
        };
        let number = more.checked_add(34).filter(|number| *number <= 64);
        return number.ok_or_else(unknown);
    }
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|index| index as u8 + 1)
        .ok_or_else(unknown)
}

pub fn kill(invocation: &Invocation) -> Outcome {
    let sandbox = ours!(invocation);
    let signal = signal_number(invocation.args.get(1).map_or("TERM", String::as_str))?;
    if sandbox.status() == Status::Stopped {
        // CRI asks again for ever when all of a stopped container cannot be killed.
        return if invocation.is_set("all") {
            Ok(0)
        } else {
            Err(Failure::new("container not running"))
        };
    }
    if signal == 0 {
        return Ok(0);
    }
    match control::ask(&sandbox.dir, json!({"op": "signal", "signal": signal})) {
        Ok(_) => Ok(0),
        // It ended between our look and our word.
        Err(_) if !sandbox.is_attended() => Err(Failure::new("container not running")),
        Err(failure) => Err(failure),
    }
}

pub fn delete(invocation: &Invocation) -> Outcome {
    let id = invocation.id()?;
    let force = invocation.is_set("force");
    store::sweep_unfinished(&invocation.root);
    let sandbox = match store::find(&invocation.root, id)? {
        None => {
            store::unmark(&invocation.root, id);
            return if force {
                Ok(0)
            } else {
                Err(store::does_not_exist(id))
            };
        }
        Some(Found::Delegated(to)) => return delete_delegated(&to.program, invocation, id),
        Some(Found::Ours(sandbox)) => sandbox,
    };
    let status = sandbox.status();
    if matches!(status, Status::Running | Status::Paused) && !force {
        return Err(Failure::new(format!(
            "cannot delete container {id} that is not stopped: {}",
            status.name()
        )));
    }
    remove(&invocation.root, &sandbox)?;
    Ok(0)
}

/// Undoes what is left of a sandbox, by its warden while that lives, and runs its `poststop` hooks.
pub fn remove(root: &Path, sandbox: &Sandbox) -> Result<(), Failure> {
    let hooks = step::hooks_kept_in(&sandbox.dir)?;
    let path = root.join(&sandbox.id);
    let by_warden =
        sandbox.is_attended() && control::ask(&sandbox.dir, json!({"op": "delete", "force": true})).is_ok();
    if !by_warden || path.exists() {
        undo::undo(&Options {
            dir: path,
            lib: sandbox.record.lib.clone(),
            console: false,
        })?;
    }
    for hook in &hooks {
        // The sandbox is gone whatever they say (runtime-spec, runtime.md, lifecycle 13).
        if let Err(error) = step::run_hook_after(hook) {
            eprintln!("poststop: {error}");
        }
    }
    Ok(())
}

/// The mark goes when the container has gone.
fn delete_delegated(program: &Path, invocation: &Invocation, id: &str) -> Outcome {
    crate::sys::ignore_sigpipe(false);
    let status = delegate::command(program, &invocation.for_others)
        .status()
        .map_err(|error| Failure::new(format!("{} cannot be executed: {error}", program.display())))?;
    if !invocation.root.join(id).exists() {
        store::unmark(&invocation.root, id);
    }
    Ok(status.code().map_or(1, |code| code as u8))
}

pub fn list(invocation: &Invocation) -> Outcome {
    invocation.refuse_unknown()?;
    store::sweep_marks(&invocation.root);
    store::sweep_unfinished(&invocation.root);
    let mut all: Vec<Value> = Vec::new();
    for id in store::ids(&invocation.root)? {
        match store::find(&invocation.root, &id) {
            Ok(Some(Found::Ours(sandbox))) => all.push(state_of(&sandbox)),
            Ok(Some(Found::Delegated(to))) => all.extend(state_by(&to.program, invocation, &id)),
            Ok(None) => {}
            Err(failure) => eprintln!("{id}: {}", failure.message),
        }
    }
    if invocation.is_set("quiet") {
        for state in &all {
            println!("{}", text(state, "id"));
        }
        return Ok(0);
    }
    match invocation.flag("format").unwrap_or("table") {
        "json" => println!("{}", Value::from(all)),
        "table" => {
            let mut rows = vec![
                ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
                    .map(str::to_string)
                    .to_vec(),
            ];
            rows.extend(all.iter().map(|state| {
                ["id", "pid", "status", "bundle", "created"]
                    .map(|key| text(state, key))
                    .into_iter()
                    .chain(["root".to_string()])
                    .collect()
            }));
            table::print(&rows);
        }
        other => {
            return Err(Failure::new(format!("--format is json or table, not {other:?}")));
        }
    }
    Ok(0)
}

fn text(state: &Value, key: &str) -> String {
    match state.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// What another runtime says of its container; nothing if it fails, as its own list would.
fn state_by(program: &Path, invocation: &Invocation, id: &str) -> Option<Value> {
    let root = invocation.root.to_str()?;
    let arguments = ["--root", root, "state", id].map(str::to_string);
    let output = delegate::command(program, &arguments).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

pub fn ps(invocation: &Invocation) -> Outcome {
    let sandbox = ours!(invocation);
    let format = invocation.flag("format").unwrap_or("table");
    processes::list(&sandbox, format, &invocation.args[1..])
}

/// A guest has no processes that a host could add to. Said at once, with the words and the status that engines understand: podman and docker make
/// 126 of it, kubectl prints it.
pub fn exec(invocation: &Invocation) -> Outcome {
    let sandbox = ours!(invocation);
    if sandbox.status() != Status::Running {
        return Err(Failure::new(format!(
            "cannot exec in a {} container: {}",
            sandbox.status().name(),
            sandbox.id
        ))
        .with_status(CANNOT_INVOKE));
    }
    Err(Failure::new(format!(
        "exec failed: permission denied: {} is a unikernel, which has no processes to add one to; its output is in the container's log",
        sandbox.id
    ))
    .with_status(CANNOT_INVOKE))
}

pub fn freeze(invocation: &Invocation, verb: &str) -> Outcome {
    let sandbox = ours!(invocation);
    let (wanted, word) = if verb == "pause" {
        (Status::Running, "not running")
    } else {
        (Status::Paused, "not paused")
    };
    if sandbox.status() != wanted {
        return Err(Failure::new(format!("container {word}: {}", sandbox.id)));
    }
    control::ask(&sandbox.dir, json!({"op": verb}))?;
    Ok(0)
}

pub fn checkpoint(invocation: &Invocation) -> Outcome {
    if invocation.verb == "restore" {
        let id = invocation.id()?;
        if store::find(&invocation.root, id)?.is_some() {
            return Err(store::exists(id));
        }
        // What is restored is a container of runc's, which later verbs find by what runc keeps of it.
        return match delegate::in_path("runc") {
            Some(program) => delegate::hand_over(&program, invocation),
            None => Err(Failure::new("restore needs runc, which is not installed")),
        };
    }
    let sandbox = ours!(invocation);
    Err(Failure::new(format!(
        "checkpoint is not supported: {} is a unikernel, whose monitor's state cannot be saved",
        sandbox.id
    )))
}

/// Verbs that TypeScript carries out.
pub fn by_brain(invocation: &Invocation) -> Outcome {
    let _sandbox = ours!(invocation);
    brain::answer(invocation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_go_by_every_name() {
        let number = |text| signal_number(text).ok();
        assert_eq!(number("15"), Some(15));
        assert_eq!(number("TERM"), Some(15));
        assert_eq!(number("sigkill"), Some(9));
        assert_eq!(number("SIGSYS"), Some(31));
        assert_eq!(number("RTMIN+3"), Some(37));
        assert_eq!(number("SIGRTMIN"), Some(34));
        assert_eq!(number("0"), Some(0));
        for bad in ["65", "", "NOPE", "RTMIN+31", "RTMIN+250", "RTMIN-1", "-9"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
