//! `helper`: a program beside the monitor that serves it, started at once and confined as the monitor is.

use super::root::bind_into;
use crate::error::{Context, Error, Result};
use crate::plan::{
    self, FdGrant, KernelFs, LogLimits, NamespaceKind, Namespaces, Spawn, Stdin, Stdio, StopMeans,
};
use crate::session::{Helper, Session};
use crate::stage::{MAX_GRANT, Order, Stage};
use crate::state_dir::read_limited;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A helper that fails does so at once.
const SETTLES: Duration = Duration::from_millis(20);

pub fn execute(step: &plan::Helper, session: &mut Session) -> Result<()> {
    if !(3..=MAX_GRANT).contains(&step.listens_at) {
        return Err(Error::step(format!("a helper listens at 3 to {MAX_GRANT}")));
    }
    let program = open(step.program.as_str(), OFlags::PATH)?;
    let null = open("/dev/null", OFlags::RDWR)?;
    // Neither end waits: a helper that says too much goes on, and so do we.
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (stderr, says) = rustix::pipe::pipe_with(flags).or_system(|| "cannot make a pipe")?;
    let listener = session.dir.listen(&step.socket)?;
    let stage = start_stage(session)?;
    stage.order(
        &Order::Root {
            size_bytes: step.root_bytes,
        },
        &[],
    )?;
    for bind in &step.binds {
        bind_into(bind, &stage)?;
    }
    if step.proc {
        stage.order(&Order::Mount { step: proc_mount()? }, &[])?;
    }
    let spawn = Box::new(spawn_of(step));
    let order = Order::Ready { spawn };
    let fds = [&program, &null, &null, &says, &listener].map(|fd| fd.as_fd());
    stage.order(&order, &fds)?;
    // Its end is to be seen at its socket and in its last words.
    drop((says, listener));
    if let Some(cgroup) = &mut session.cgroup {
        cgroup.attached()?;
    }
    stage.go()?;
    let helper = Helper {
        process: stage.process,
        stderr,
    };
    let ended = crate::process::wait_readable(helper.process.fd(), SETTLES);
    let complaint = ended.then(|| complaint(&helper));
    session.helpers.push(helper);
    if let Some(complaint) = complaint {
        return Err(Error::step(format!(
            "the helper {} failed: {complaint}",
            step.program
        )));
    }
    let Some(name) = &step.connects else {
        return Ok(());
    };
    let fd = session.dir.connect(&step.socket)?;
    if session.fds.insert(name.clone(), fd).is_some() {
        return Err(Error::step(format!("two descriptors are named {name}")));
    }
    Ok(())
}

fn open(path: &str, access: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())
        .or_system(|| format!("cannot open {path}"))
}

/// The helper's own stage, in the sandbox's network namespace, of which it can see nothing without a socket.
fn start_stage(session: &mut Session) -> Result<Stage> {
    if let Some(cgroup) = &mut session.cgroup {
        // The stage is cloned from a process with one thread: the one that fills the cgroup has to be through.
        cgroup.attached()?;
    }
    let make = vec![
        NamespaceKind::Mount,
        NamespaceKind::Pid,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Cgroup,
    ];
    let stage = Stage::start(
        &Namespaces {
            make,
            ..Namespaces::default()
        },
        Vec::new(),
    )?;
    if let Some(cgroup) = &mut session.cgroup {
        cgroup.attach(stage.process.name.pid)?;
    }
    Ok(stage)
}

fn proc_mount() -> Result<plan::Mount> {
    Ok(plan::Mount {
        kind: KernelFs::Proc,
        at: "/proc".to_string().try_into().map_err(Error::step)?,
        options: vec!["ro".into()],
    })
}

fn spawn_of(step: &plan::Helper) -> Spawn {
    Spawn {
        program: step.program.clone(),
        argv: step.argv.clone(),
        env: step.env.clone(),
        credentials: step.credentials.clone(),
        fds: vec![FdGrant {
            name: "listener".into(),
            at: step.listens_at,
        }],
        seccomp: step.seccomp.clone(),
        rlimits: step.rlimits.clone(),
        oom_score_adj: None,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        exit_codes: Vec::new(),
        stdio: Stdio {
            terminal: false,
            rows: None,
            cols: None,
            stdin: Stdin::Null,
            tee: false,
            log: Some(LogLimits {
                max_bytes: 0,
                files: 1,
            }),
            pipes: None,
        },
        stop: StopMeans::Signal {
            signal: 9,
            deadline_ms: 0,
        },
        channel: None,
    }
}

/// The last line that a helper said.
fn complaint(helper: &Helper) -> String {
    let text = read_limited(helper.stderr.as_fd(), 64 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it ended at once").trim().to_string()
}

/// Ends the helpers. After a crash of ours the kernel has done it (parent-death signal).
pub fn undo(session: &mut Session) -> Result<()> {
    session.fds.clear();
    for helper in session.helpers.drain(..) {
        if !helper.process.end() {
            return Err(Error::step(format!(
                "process {} does not die",
                helper.process.name.pid
            )));
        }
    }
    Ok(())
}
