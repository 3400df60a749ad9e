//! `spawn`: the stage becomes all but the monitor; `start` is the exec.

use crate::error::{Context, Error, Result};
use crate::plan;
use crate::session::{Session, Workload};
use crate::stage::{MAX_GRANT, Order};
use crate::stdio::{Ends, Streams};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd};

pub fn execute(step: &plan::Spawn, session: &mut Session) -> Result<()> {
    check_grants(step)?;
    if session.workload.is_some() {
        return Err(Error::step("the plan starts two programs"));
    }
    let program = rustix::fs::open(
        step.program.as_str(),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .or_system(|| format!("cannot open the program {}", step.program))?;
    let owner = (step.credentials.uid, step.credentials.gid);
    let (
        streams,
        Ends {
            stdin,
            stdout,
            stderr,
        },
    ) = Streams::for_program(&step.stdio, &session.dir, owner)?;
    let mut fds: Vec<BorrowedFd<'_>> = vec![program.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    for grant in &step.fds {
        let fd = session
            .fds
            .get(&grant.name)
            .ok_or_else(|| Error::step(format!("no descriptor is named {}", grant.name)))?;
        fds.push(fd.as_fd());
    }
    let stage = session.stage()?;
    if let Some(adjustment) = step.oom_score_adj {
        adjust_oom_score(stage.process.name.pid, adjustment)?;
    }
    stage.order(
        &Order::Ready {
            spawn: Box::new(step.clone()),
        },
        &fds,
    )?;
    // What the program was given is its own now: a tap ends with it.
    session.fds.clear();
    session.streams = Some(streams);
    session.workload = Some(Workload::Monitor {
        stop: step.stop.clone(),
    });
    match &mut session.cgroup {
        Some(cgroup) => cgroup.attached(),
        None => Ok(()),
    }
}

fn check_grants(step: &plan::Spawn) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    for grant in &step.fds {
        if !(3..=MAX_GRANT).contains(&grant.at) || !seen.insert(grant.at) {
            return Err(Error::step(format!(
                "descriptor {} of {}: numbers go from 3 to {MAX_GRANT}, each once",
                grant.at, grant.name
            )));
        }
    }
    Ok(())
}

/// Without CAP_SYS_RESOURCE (in a container, say) the score can only be raised. That a sandbox is then killed somewhat earlier than it
/// could be is no reason not to start it.
fn adjust_oom_score(pid: i32, adjustment: i32) -> Result<()> {
    let file = format!("/proc/{pid}/oom_score_adj");
    match std::fs::write(&file, adjustment.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && adjustment < 0 => Ok(()),
        other => other.or_system(|| format!("cannot write {adjustment} to {file}")),
    }
}

/// Ends the monitor. After a crash of ours the kernel has done it (parent-death signal).
pub fn undo(session: &mut Session) -> Result<()> {
    session.workload = None;
    match &session.stage {
        Some(stage) if !stage.process.end() => Err(Error::step(format!(
            "process {} does not die",
            stage.process.name.pid
        ))),
        _ => Ok(()),
    }
}
