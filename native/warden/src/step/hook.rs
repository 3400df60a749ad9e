//! `hook`: an OCI hook with the container's state on its stdin.

use crate::error::{Context, Error, Result};
use crate::plan::{Hook, HookPlace};
use crate::run;
use crate::session::Session;
use crate::sys;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// A hook that names no deadline gets this one.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

pub fn execute(step: &Hook, session: &mut Session) -> Result<()> {
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
    // A hook "in the container" runs in its namespaces, with the host's program: it is opened before they are entered.
    match step.place {
        HookPlace::Runtime => run::tie(&mut command, Some(session.host_netns.as_fd())),
        HookPlace::Container => {
            run::tie(&mut command, None);
            join_stage(&mut command, session)?;
        }
    }
    let deadline = if step.timeout_ms == 0 {
        DEFAULT_DEADLINE
    } else {
        Duration::from_millis(step.timeout_ms)
    };
    let finished = run::run(&mut command, &step.state.0, deadline, true)?;
    if finished.status.success() {
        return Ok(());
    }
    Err(Error::step(format!(
        "the hook {} failed: {}",
        step.path,
        finished.complaint()
    )))
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
