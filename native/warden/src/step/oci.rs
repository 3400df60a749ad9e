//! `oci`: a container by runc or crun, as a child of the warden. The runtime runs in the warden's namespaces: it sees the
//! sandbox's mounts, and a bundle that names no network namespace gets the sandbox's, never the host's.

use super::cgroup;
use crate::error::{Context, Error, Result};
use crate::path::{CgroupPath, StatePath};
use crate::plan::{self, Oci, OciRuntime};
use crate::process::Process;
use crate::run;
use crate::session::{Exec, Session, Workload};
use crate::state_dir::StateDir;
use crate::stdio::{Held, Streams, open_pipes};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one command of the runtime may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the runtime is asked besides `create`.
pub enum Verb {
    Start,
    Pause,
    Resume,
    /// A signal; `all` reaches every process of the container.
    Kill {
        signal: u8,
        all: bool,
    },
    Delete,
}

/// Where a runtime may be when only its name is known: the journal holds no command.
const PLACES: [&str; 6] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/bin",
    "/sbin",
];

fn find(runtime: OciRuntime) -> Option<PathBuf> {
    let name = match runtime {
        OciRuntime::Runc => "runc",
        OciRuntime::Crun => "crun",
    };
    PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.is_file())
}

/// The runtime with what every command of it has: state and log of this sandbox, an environment of ours.
fn base(path: &Path, dir: &StateDir) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", PLACES.join(":")).current_dir("/");
    command
        .arg("--root")
        .arg(dir.join("oci"))
        .arg("--log")
        .arg(dir.join("oci.log"))
        .args(["--log-format", "json"]);
    command
}

/// Runs one verb to its end.
pub fn command(path: &Path, verb: &Verb, session: &Session) -> Result<()> {
    let mut command = base(path, &session.dir);
    let id = session.id();
    match verb {
        Verb::Start => command.args(["start", id]),
        Verb::Pause => command.args(["pause", id]),
        Verb::Resume => command.args(["resume", id]),
        Verb::Kill { signal, all: true } => command.args(["kill", "--all", id, &signal.to_string()]),
        Verb::Kill { signal, all: false } => command.args(["kill", id, &signal.to_string()]),
        Verb::Delete => command.args(["delete", "--force", id]),
    };
    run::tie(&mut command, None);
    let finished = run::run(&mut command, &[], DEADLINE, true)?;
    if finished.status.success() {
        return Ok(());
    }
    let why = log_message(&session.dir).unwrap_or_else(|| finished.complaint());
    Err(Error::step(format!("{}: {why}", path.display())))
}

pub fn execute(step: &Oci, session: &mut Session) -> Result<()> {
    if session.workload.is_some() {
        return Err(Error::step("the plan starts two programs"));
    }
    if let Some(cgroup) = cgroup_of(step, session) {
        crate::cgroup::reserve(&cgroup)?;
    }
    let path = PathBuf::from(step.path.as_str());
    let pid_file = session.dir.join("oci.pid");
    let mut command = base(&path, &session.dir);
    command
        .arg("create")
        .arg("--bundle")
        .arg(session.dir.join(step.bundle.as_str()));
    command.arg("--pid-file").arg(&pid_file);
    let (streams, held) = give(&mut command, &step.stdio, session, |command| {
        let finished = run::run(command.arg(session.id()), &[], DEADLINE, false)?;
        if finished.status.success() {
            return Ok(());
        }
        let why = log_message(&session.dir).unwrap_or_else(|| finished.complaint());
        Err(refusal(format!(
            "{} cannot create the container: {why}",
            path.display()
        )))
    })?;
    let process = process_of(&path, &pid_file)?;
    let pid = process.name.pid;
    session.memory = crate::cgroup::memory_directory_of(pid);
    session.streams = streams;
    session.held = held;
    session.workload = Some(Workload::Container {
        path,
        process,
        stop: step.stop.clone(),
    });
    Ok(())
}

/// Gives a command of the runtime's the streams of the program that it starts, runs it, and returns what we keep of them.
fn give(
    command: &mut Command,
    stdio: &plan::Stdio,
    session: &Session,
    run_it: impl FnOnce(&mut Command) -> Result<()>,
) -> Result<(Option<Streams>, Option<Held>)> {
    run::tie(command, None);
    if stdio.terminal {
        let console = Console::listen(&session.dir)?;
        command.arg("--console-socket").arg(console.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        run_it(command)?;
        let streams = Streams::on_terminal(stdio, &session.dir, console.receive()?)?;
        return match &stdio.pipes {
            Some(pipes) => {
                let (ends, held) = open_pipes(pipes)?;
                Ok((Some(streams.pass_to(ends)), Some(held)))
            }
            None => Ok((Some(streams.end_with_reader()), None)),
        };
    }
    let (streams, ends, held) = match &stdio.pipes {
        Some(pipes) => {
            let (ends, held) = open_pipes(pipes)?;
            (None, ends, Some(held))
        }
        None => {
            // The container inherits the runtime's own streams. They are root's: its processes begin as root.
            let (streams, ends) = Streams::pipes(stdio, &session.dir, (0, 0))?;
            (Some(streams.end_with_reader()), ends, None)
        }
    };
    command.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
    let result = run_it(command);
    // The command holds our ends of the program's streams.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    result.map(|()| (streams, held))
}

/// The process that the runtime left, by the number that it wrote.
fn process_of(path: &Path, pid_file: &Path) -> Result<Process> {
    let pid = std::fs::read_to_string(pid_file)
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
        .ok_or_else(|| {
            Error::step(format!(
                "{} left no process number in {}",
                path.display(),
                pid_file.display()
            ))
        })?;
    Process::open(pid)
}

/// Another program in the container, as our child: its process in the words of the runtime specification.
pub fn exec(path: &Path, process: &[u8], stdio: &plan::Stdio, session: &Session) -> Result<Exec> {
    let what = || "cannot write what is to be executed";
    let file = StatePath::try_from("exec.json".to_string()).map_err(Error::bad_request)?;
    session.dir.write_file(&file, process, 0o600, None)?;
    let pid_file = session.dir.join("exec.pid");
    let mut command = base(path, &session.dir);
    command
        .args(["exec", "--detach", "--process"])
        .arg(session.dir.join("exec.json"))
        .arg("--pid-file")
        .arg(&pid_file);
    let result = give(&mut command, stdio, session, |command| {
        let finished = run::run(command.arg(session.id()), &[], DEADLINE, false)?;
        if finished.status.success() {
            return Ok(());
        }
        let why = log_message(&session.dir).unwrap_or_else(|| finished.complaint());
        Err(refusal(why))
    });
    // Secrets may be in its environment.
    session.dir.remove_file(&file)?;
    let (streams, held) = result?;
    let process = process_of(path, &pid_file)?;
    std::fs::remove_file(&pid_file).or_system(what)?;
    Ok(Exec {
        process,
        streams,
        held,
        exit: None,
        told: false,
    })
}

/// A failed `create` as an error. Both runtimes look for the container's program then, and tell only in words that it is
/// not there or not executable.
fn refusal(message: String) -> Error {
    let text = message.to_lowercase();
    let is_about_program = text.contains("exec: ") || text.contains("executable file");
    let errno = if text.contains("no such file") || text.contains("not found in $path") {
        "ENOENT"
    } else if text.contains("permission denied") {
        "EACCES"
    } else {
        return Error::step(message);
    };
    if !is_about_program {
        return Error::step(message);
    }
    Error {
        errno: Some(errno.to_string()),
        ..Error::new("exec-failed", message)
    }
}

/// The last message of the runtime's own log.
pub fn log_message(dir: &StateDir) -> Option<String> {
    let text = dir.read_file("oci.log", 1 << 20).ok()??;
    String::from_utf8_lossy(&text).lines().rev().find_map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(record.get("msg")?.as_str()?.to_string())
    })
}

/// The socket by which the runtime hands over the terminal.
struct Console {
    socket: OwnedFd,
    path: PathBuf,
}

impl Console {
    fn listen(dir: &StateDir) -> Result<Console> {
        let what = || "cannot make the console socket";
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .or_system(what)?;
        // Our own entry in /proc keeps the address short however deep the state directory lies.
        let path = PathBuf::from(format!(
            "/proc/{}/fd/{}/console.sock",
            std::process::id(),
            dir.fd().as_raw_fd()
        ));
        let _ = rustix::fs::unlinkat(dir.fd(), "console.sock", rustix::fs::AtFlags::empty());
        let address = SocketAddrUnix::new(&path).or_system(what)?;
        rustix::net::bind(&socket, &address).or_system(what)?;
        rustix::net::listen(&socket, 1).or_system(what)?;
        Ok(Console { socket, path })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// The master end. The runtime has connected before its `create` ended.
    fn receive(&self) -> Result<OwnedFd> {
        let what = || "the runtime sent no terminal";
        let late = || Error::step(what());
        if !crate::process::wait_readable(self.socket.as_fd(), Duration::from_secs(5)) {
            return Err(late());
        }
        let peer = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC).or_system(what)?;
        if !crate::process::wait_readable(peer.as_fd(), Duration::from_secs(5)) {
            return Err(late());
        }
        crate::stage::receive_fd(peer.as_fd())
            .or_system(what)?
            .ok_or_else(late)
    }
}

/// The cgroup that the bundle's configuration names, if it is this sandbox's own: its last part is the id.
pub fn cgroup_of(step: &Oci, session: &Session) -> Option<CgroupPath> {
    #[derive(serde::Deserialize)]
    struct Config {
        linux: Linux,
    }
    #[derive(serde::Deserialize)]
    struct Linux {
        #[serde(rename = "cgroupsPath")]
        cgroups_path: CgroupPath,
    }
    let config = session
        .dir
        .read_file(&format!("{}/config.json", step.bundle), 4 << 20)
        .ok()??;
    let path = serde_json::from_slice::<Config>(&config).ok()?.linux.cgroups_path;
    cgroup::is_ours(&path, session).then_some(path)
}

/// Deletes the container, whatever state it is in, and what a runtime leaves that was killed before it had written any.
pub fn undo(runtime: OciRuntime, cgroup: Option<&CgroupPath>, session: &mut Session) -> Result<()> {
    let deleted = delete(runtime, session);
    match cgroup.filter(|path| cgroup::is_ours(path, session)) {
        Some(path) => deleted.and(crate::cgroup::remove(path)),
        None => deleted,
    }
}

fn delete(runtime: OciRuntime, session: &mut Session) -> Result<()> {
    let workload = session.workload.take();
    let state = session.dir.join("oci").join(session.id());
    if !state.exists() {
        return Ok(());
    }
    let path = match workload {
        Some(Workload::Container { path, .. }) => path,
        _ => find(runtime).ok_or_else(|| {
            Error::step(format!(
                "cannot delete the container: no {runtime:?} in {}",
                PLACES.join(", ")
            ))
        })?,
    };
    match command(&path, &Verb::Delete, session) {
        // A directory without a state in it is no container: the runtime was killed before there was one.
        Err(_) if !state.join("state.json").exists() && !state.join("status").exists() => Ok(()),
        other => other,
    }
}
