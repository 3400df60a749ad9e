//! `spawn`: the stage becomes all but the monitor; `start` is the exec.

use crate::error::{Context, Error, Result};
use crate::plan::{self, FdGrant, Stdin};
use crate::session::{Session, Workload};
use crate::stage::{MAX_GRANT, Order};
use crate::stdio::{Ends, Streams, engine_ends, open_pipes};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
    let (streams, ends) = if step.stdio.stdin == Stdin::Engine {
        let ends = match (session.terminal.take(), &step.stdio.pipes) {
            (Some(ends), _) => ends,
            (None, Some(pipes)) if !step.stdio.terminal => {
                let (ends, held) = open_pipes(pipes)?;
                session.held = Some(held);
                ends
            }
            (None, _) => engine_ends(&step.stdio, session.console.take(), owner)?,
        };
        (None, ends)
    } else {
        let (mut streams, ends) = Streams::for_program(&step.stdio, &session.dir, owner)?;
        if let Some(pipes) = &step.stdio.pipes {
            let (others, held) = open_pipes(pipes)?;
            streams = streams.pass_to(others);
            session.held = Some(held);
        }
        (Some(streams), ends)
    };
    let Ends {
        stdin,
        stdout,
        stderr,
    } = ends;
    let channel = step.channel.as_ref().map(make_channel).transpose()?;
    let mut fds: Vec<BorrowedFd<'_>> = vec![program.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    for grant in &step.fds {
        let fd = session
            .fds
            .get(&grant.name)
            .ok_or_else(|| Error::step(format!("no descriptor is named {}", grant.name)))?;
        fds.push(fd.as_fd());
    }
    let mut order = step.clone();
    if let (Some((_, theirs)), Some(channel)) = (&channel, &step.channel) {
        fds.push(theirs.as_fd());
        order.fds.push(FdGrant {
            name: "channel".to_string(),
            at: channel.at,
        });
    }
    let stage = session.stage()?;
    if let Some(adjustment) = step.oom_score_adj {
        adjust_oom_score(stage.process.name.pid, adjustment)?;
    }
    stage.order(
        &Order::Ready {
            spawn: Box::new(order),
        },
        &fds,
    )?;
    // What the program was given is its own now: a tap ends with it.
    session.fds.clear();
    session.streams = streams;
    session.channel = channel
        .zip(step.channel.clone())
        .map(|((ours, _), channel)| (ours, channel));
    session.workload = Some(Workload::Monitor {
        stop: step.stop.clone(),
        exit_codes: step.exit_codes.clone(),
    });
    match &mut session.cgroup {
        Some(cgroup) => cgroup.attached(),
        None => Ok(()),
    }
}

fn check_grants(step: &plan::Spawn) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    let channel = step.channel.iter().map(|channel| ("channel", channel.at));
    let grants = step.fds.iter().map(|grant| (grant.name.as_str(), grant.at));
    for (name, at) in grants.chain(channel) {
        if !(3..=MAX_GRANT).contains(&at) || !seen.insert(at) {
            return Err(Error::step(format!(
                "descriptor {at} of {name}: numbers go from 3 to {MAX_GRANT}, each once"
            )));
        }
    }
    Ok(())
}

/// Our end and the monitor's.
fn make_channel(_: &plan::Channel) -> Result<(OwnedFd, OwnedFd)> {
    crate::unix_socket::pair().or_system(|| "cannot make the monitor's channel")
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

/// Makes the terminal of a program that is started later, for an engine that waits for it before it goes on.
pub fn make_terminal(plan: &plan::Plan, session: &mut Session) -> Result<()> {
    for step in &plan.steps {
        if let plan::Step::Spawn(spawn) = step
            && let Some(console) = session.console.take()
        {
            let owner = (spawn.credentials.uid, spawn.credentials.gid);
            session.terminal = Some(engine_ends(&spawn.stdio, Some(console), owner)?);
        }
    }
    Ok(())
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
