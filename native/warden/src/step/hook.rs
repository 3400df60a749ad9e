//! `hook`: an OCI hook with the container's state on its stdin.

use crate::error::{Context, Error, Result};
use crate::plan::{Hook, HookPlace, HookTime};
use crate::protocol::Status;
use crate::run;
use crate::session::Session;
use crate::state_dir::StateDir;
use crate::sys;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A hook that names no deadline gets this one.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Runs a hook whose time is now, keeps one whose time comes.
pub fn execute(step: &Hook, session: &mut Session) -> Result<()> {
    match step.when {
        HookTime::Now => run_now(step, session, Status::Creating),
        HookTime::Start | HookTime::Poststart => {
            session.hooks.push(step.clone());
            Ok(())
        }
        HookTime::Poststop => {
            session.hooks.push(step.clone());
            let kept: Vec<&Hook> = session
                .hooks
                .iter()
                .filter(|hook| hook.when == HookTime::Poststop)
                .collect();
            let text = serde_json::to_vec(&kept).map_err(|error| Error::step(error.to_string()))?;
            session.dir.replace_file("hooks.json", &text)
        }
    }
}

/// The hooks of one time, in their order; the first that fails ends it.
pub fn run_kept(when: HookTime, session: &Session, status: Status) -> Result<()> {
    let due = session.hooks.iter().filter(|hook| hook.when == when);
    for hook in due {
        run_now(hook, session, status)?;
    }
    Ok(())
}

/// What `hooks.json` of a sandbox's directory holds; nothing where there is none.
pub fn kept_in(dir: &StateDir) -> Result<Vec<Hook>> {
    match dir.read_file("hooks.json", 4 << 20)? {
        Some(text) => serde_json::from_slice(&text)
            .map_err(|error| Error::step(format!("{}/hooks.json is damaged: {error}", dir.path().display()))),
        None => Ok(Vec::new()),
    }
}

/// The state that a hook reads: as the plan has it, with the pid and the status of now.
fn state_of(step: &Hook, pid: i32, status: Status) -> Vec<u8> {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&step.state.0) {
        Ok(mut state) => {
            state.insert("pid".into(), pid.into());
            state.insert("status".into(), status.name().into());
            serde_json::to_vec(&state).unwrap_or_default()
        }
        Err(_) => step.state.0.clone(),
    }
}

/// A hook of a sandbox that is gone: in the host's namespaces, with no process to name.
pub fn run_after(step: &Hook) -> Result<()> {
    let mut command = command_of(step);
    run::tie(&mut command, None);
    finish(step, &mut command, &state_of(step, 0, Status::Stopped))
}

fn run_now(step: &Hook, session: &Session, status: Status) -> Result<()> {
    let mut command = command_of(step);
    // A hook "in the container" runs in its namespaces, with the host's program: it is opened before they are entered.
    match step.place {
        HookPlace::Runtime => {
            run::tie(&mut command, Some(session.host_netns.as_fd()));
            join_host_mounts(&mut command, session)?;
        }
        HookPlace::Container => {
            run::tie(&mut command, None);
            join_stage(&mut command, session)?;
        }
    }
    // Engines take the process that the pid file names for the sandbox's: its namespaces are the sandbox's.
    finish(
        step,
        &mut command,
        &state_of(step, std::process::id() as i32, status),
    )
}

fn command_of(step: &Hook) -> Command {
    let mut command = Command::new(step.path.as_str());
    command.env_clear().current_dir("/");
    let mut argv = step.argv.iter();
    if let Some(name) = argv.next() {
        command.arg0(name);
    }
    command.args(argv);
    for pair in &step.env {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        command.env(key, value);
    }
    command
}

fn finish(step: &Hook, command: &mut Command, state: &[u8]) -> Result<()> {
    let deadline = if step.timeout_ms == 0 {
        DEFAULT_DEADLINE
    } else {
        Duration::from_millis(step.timeout_ms)
    };
    let finished = run::run(command, state, deadline, true)?;
    if finished.status.success() {
        return Ok(());
    }
    Err(Error::step(format!(
        "the hook {} failed: {}",
        step.path,
        finished.complaint()
    )))
}

/// The mounts that the runtime was started with: what such a hook mounts is the engine's.
fn join_host_mounts(command: &mut Command, session: &Session) -> Result<()> {
    let mounts = session
        .host_mounts
        .try_clone()
        .map_err(|error| Error::system("cannot copy a descriptor", error))?;
    // SAFETY: the closure makes one system call, on a descriptor that was set up before the fork.
    unsafe {
        command.pre_exec(move || Ok(sys::setns(mounts.as_fd(), libc::CLONE_NEWNS)?));
    }
    Ok(())
}

/// All namespaces of the stage but its mounts: OCI lets a createContainer hook be found by its path in the runtime's.
fn join_stage(command: &mut Command, session: &Session) -> Result<()> {
    let Some(stage) = &session.stage else {
        return Ok(());
    };
    let pidfd = stage
        .process
        .fd()
        .try_clone_to_owned()
        .or_system(|| "cannot copy a descriptor")?;
    let kinds = libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET;
    // SAFETY: the closure makes one system call, on a descriptor that was set up before the fork.
    unsafe {
        command.pre_exec(move || Ok(sys::setns(pidfd.as_fd(), kinds)?));
    }
    Ok(())
}

/// What a hook did has its own hook to undo it (poststop), which is the plan's affair.
pub fn undo(_session: &mut Session) -> Result<()> {
    Ok(())
}
