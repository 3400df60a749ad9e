//! The brain, which is TypeScript: tripodd where it answers, else one start of Node. It is asked in lines of JSON (`src/spec/brain.ts`).

use super::arguments::Invocation;
use super::{Failure, Outcome, delegate};
use crate::error::Context;
use crate::serve::Connection;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A daemon that has not decided by then is stuck: Node is started instead.
const DAEMON_PATIENCE: Duration = Duration::from_secs(10);
/// A first decision on a machine probes it.
const ONCE_PATIENCE: Duration = Duration::from_secs(120);

/// What the brain is asked first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateRequest<'a> {
    pub op: &'static str,
    pub version: u32,
    pub id: &'a str,
    pub bundle: &'a Path,
    /// Where the sandbox's state directory will be.
    pub state_dir: &'a Path,
    pub systemd_cgroup: bool,
    /// Whether somebody waits for a terminal.
    pub console: bool,
    /// Other containers of the same pod that are there already.
    pub neighbours: usize,
    /// How many of them are guests of ours.
    pub guests: usize,
    /// The caller's, for programs to be found.
    pub path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegate {
    pub program: PathBuf,
    /// A bundle of ours with a configuration that an older runtime understands, in place of the caller's.
    pub bundle: Option<PathBuf>,
    /// What was changed in it.
    pub notes: Option<String>,
}

#[derive(Deserialize)]
struct Failed {
    message: String,
    hint: Option<String>,
}

/// A line of the brain's that is for us. Every other line is a request to the warden.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ForUs {
    Delegate(Delegate),
    Failed(Failed),
    Done {},
}

pub enum Decision {
    Delegate(Delegate),
    /// A sandbox of ours, with the first request to its warden.
    Sandbox(Vec<u8>),
}

pub struct Brain {
    connection: Connection,
    once: Option<Child>,
    /// Lines that came with one that was taken.
    waiting: std::collections::VecDeque<Vec<u8>>,
}

fn read_line(line: &[u8]) -> Option<ForUs> {
    serde_json::from_slice(line).ok()
}

impl Failed {
    fn into_failure(self) -> Failure {
        Failure::new(match self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message,
        })
    }
}

/// Asks for a decision.
pub fn decide(invocation: &Invocation, request: &CreateRequest<'_>) -> Result<(Brain, Decision), Failure> {
    let line = serde_json::to_vec(request).map_err(|error| Failure::new(error.to_string()))?;
    // A configuration of one's own is not the daemon's.
    if invocation.tripod_config.is_none()
        && let Some(mut brain) = Brain::daemon(invocation)
    {
        brain.connection.forward(&line);
        match brain.decision(DAEMON_PATIENCE) {
            Ok(Some(decision)) => return Ok((brain, decision)),
            Ok(None) => {}
            Err(failure) => return Err(failure),
        }
    }
    let mut brain = Brain::once(invocation)?;
    brain.connection.forward(&line);
    match brain.decision(ONCE_PATIENCE)? {
        Some(decision) => Ok((brain, decision)),
        None => Err(Failure::new(format!(
            "the decision failed: {}",
            brain.last_words()
        ))),
    }
}

impl Brain {
    fn new(fd: OwnedFd, once: Option<Child>) -> Brain {
        Brain {
            connection: Connection::new(fd, 0, true),
            once,
            waiting: std::collections::VecDeque::new(),
        }
    }

    fn daemon(invocation: &Invocation) -> Option<Brain> {
        let socket = invocation
            .tripod_root
            .as_ref()
            .map_or_else(|| PathBuf::from("/run/tripod"), |root| root.join("run"))
            .join("tripodd.sock");
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(socket).ok()?).ok()?;
        // Whoever could put a socket there could do all that we can; anybody else must not be believed.
        let peer = rustix::net::sockopt::socket_peercred(&fd).ok()?;
        (peer.uid == rustix::process::geteuid()).then(|| Brain::new(fd, None))
    }

    /// One start of Node for this conversation, which goes over its stdin.
    fn once(invocation: &Invocation) -> Result<Brain, Failure> {
        let (ours, theirs) = crate::unix_socket::pair().or_system(|| "cannot make a socket pair")?;
        let mut command = node_for(invocation)?;
        command
            .arg("converse")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        crate::run::tie(&mut command, None);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("Node cannot be started: {error}")))?;
        Ok(Brain::new(ours, Some(child)))
    }

    /// `None` when the brain went away, or did not decide in time.
    fn decision(&mut self, patience: Duration) -> Result<Option<Decision>, Failure> {
        let Some(line) = self.next_line(Instant::now() + patience) else {
            return Ok(None);
        };
        match read_line(&line) {
            Some(ForUs::Delegate(to)) => Ok(Some(Decision::Delegate(to))),
            Some(ForUs::Failed(failed)) => Err(failed.into_failure()),
            Some(ForUs::Done {}) => Ok(None),
            None => Ok(Some(Decision::Sandbox(line))),
        }
    }

    fn next_line(&mut self, end: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            let left = end.saturating_duration_since(Instant::now());
            if !self.connection.is_open() || !crate::process::wait_readable(self.connection.fd(), left) {
                return None;
            }
            self.waiting.extend(self.connection.receive());
        }
    }

    /// Carries the conversation between the brain and the warden until the brain says that it is done.
    pub fn converse(&mut self, first: Vec<u8>, warden: &mut Connection) -> Result<(), Failure> {
        warden.forward(&first);
        loop {
            while let Some(line) = self.waiting.pop_front() {
                match read_line(&line) {
                    Some(ForUs::Done {}) => return Ok(()),
                    Some(ForUs::Failed(failed)) => return Err(failed.into_failure()),
                    Some(ForUs::Delegate(_)) => {
                        return Err(Failure::new("the brain changed its mind"));
                    }
                    None => warden.forward(&line),
                }
            }
            if !self.connection.is_open() {
                return Err(Failure::new(format!(
                    "the brain went away: {}",
                    self.last_words()
                )));
            }
            if !warden.is_open() {
                return Err(Failure::new("the warden ended while the sandbox was made"));
            }
            let mut fds = [
                PollFd::from_borrowed_fd(self.connection.fd(), self.connection.interest()),
                PollFd::from_borrowed_fd(warden.fd(), warden.interest()),
            ];
            let patience = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let _ = rustix::event::poll(&mut fds, Some(&patience));
            let can_write: Vec<bool> = fds
                .iter()
                .map(|fd| fd.revents().contains(PollFlags::OUT))
                .collect();
            if can_write[0] {
                self.connection.flush();
            }
            if can_write[1] {
                warden.flush();
            }
            self.waiting.extend(self.connection.receive());
            for line in warden.receive() {
                self.connection.forward(&line);
            }
        }
    }

    /// As a drop, for whoever becomes another program, which must find no child that it does not know.
    pub fn end(mut self) {
        if let Some(mut child) = self.once.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The last line that a Node of ours wrote before it ended.
    fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(child) = &mut self.once {
            let _ = child.kill();
            if let Some(stderr) = child.stderr.take() {
                let _ = stderr.take(1 << 20).read_to_string(&mut text);
            }
            let _ = child.wait();
        }
        text.lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it gave no reason")
            .to_string()
    }
}

impl Drop for Brain {
    /// The conversation is over. The end of a Node of ours takes milliseconds and is reaped beside us: by whoever is given our orphans, the sandbox's
    /// warden among them, where we end first.
    fn drop(&mut self) {
        if let Some(mut child) = self.once.take() {
            let _ = child.kill();
            std::thread::spawn(move || child.wait());
        }
    }
}

/// Becomes Node with the caller's arguments, for verbs that are TypeScript's.
pub fn answer(invocation: &Invocation) -> Outcome {
    use std::os::unix::process::CommandExt;
    let mut command = node_for(invocation)?;
    command.arg("answer").args(&invocation.for_others);
    crate::sys::ignore_sigpipe(false);
    let error = command.exec();
    Err(Failure::new(format!("Node cannot be started: {error}")))
}

/// Node with the brain's program for this call; PATH is the caller's.
fn node_for(invocation: &Invocation) -> Result<Command, Failure> {
    let mut command = node("build/runtime.cjs", "src/cli/runtime/main.ts")?;
    if let Some(root) = &invocation.tripod_root {
        command.env("TRIPOD_ROOT", root);
    }
    if let Some(config) = &invocation.tripod_config {
        command.env("TRIPOD_CONFIG", config);
    }
    Ok(command)
}

/// Node of the installation that this program belongs to, with one of its programs: the bundle, or in a developer's tree the source where that is newer.
pub fn node(bundle: &str, source: &str) -> Result<Command, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("our own program cannot be found: {error}")))?;
    let tree = program
        .ancestors()
        .nth(2)
        .ok_or_else(|| Failure::new("our own installation cannot be found"))?;
    let platform = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x64"
    };
    let node = tree.join(format!("node_modules/node-linux-{platform}/bin/node"));
    if !node.is_file() {
        return Err(Failure::new(format!(
            "{} is missing: run {}/script/setup",
            node.display(),
            tree.display()
        )));
    }
    let bundle = tree.join(bundle);
    let mut command = delegate::command(&node, &["--disable-warning=ExperimentalWarning".to_string()]);
    command
        .arg(if is_current(tree, &bundle) {
            bundle
        } else {
            tree.join(source)
        })
        .env_remove("NODE_OPTIONS");
    Ok(command)
}

/// Whether the bundle is there and, in a developer's tree, no source is newer.
fn is_current(tree: &Path, bundle: &Path) -> bool {
    let Some(made) = modified(bundle) else {
        return false;
    };
    !tree.join(".git").exists() || !has_newer(&tree.join("src"), made)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn has_newer(directory: &Path, than: SystemTime) -> bool {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => has_newer(&path, than),
                _ => {
                    path.extension().is_some_and(|name| name == "ts")
                        && modified(&path).is_some_and(|time| time > than)
                }
            }
        })
}
