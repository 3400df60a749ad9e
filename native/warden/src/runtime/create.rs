//! `create` and `run`: the brain decides, a warden of the caller's own process tree carries out. Whatever fails leaves nothing behind.

use super::arguments::Invocation;
use super::brain::{self, Brain, CreateRequest, Decision, Delegate};
use super::log::Log;
use super::store::{self, Found, Record};
use super::{Failure, Outcome, control, delegate, verbs};
use crate::clock;
use crate::error::Context;
use crate::options::Options;
use crate::process::{self, wait_readable};
use crate::serve::Connection;
use crate::stage::send_fd;
use crate::{sys, undo};
use rustix::net::SocketFlags;
use rustix::process::{Pid, PidfdFlags};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Bytes of a `config.json`; the largest that engines write are some hundred kB.
const MAX_CONFIG: usize = 16 << 20;
/// How long a warden that lost its owner may take to undo what it made.
const UNDO_PATIENCE: Duration = Duration::from_secs(30);

/// The paths of one call, absolute and real.
struct Call<'a> {
    invocation: &'a Invocation,
    id: &'a str,
    bundle: PathBuf,
    state_dir: PathBuf,
}

enum Made {
    /// Only a call that became another runtime ends here, and that only when it failed.
    Delegated(Outcome),
    Sandbox(Child),
}

pub fn create(invocation: &Invocation) -> Outcome {
    match make(invocation)? {
        Made::Delegated(outcome) => outcome,
        Made::Sandbox(_) => Ok(0),
    }
}

/// Creates and starts; in the foreground until the end, whose status is ours.
pub fn run(invocation: &Invocation, log: &Log) -> Outcome {
    // Before anything is started: what is inherited stays blocked only for us.
    let signals = sys::signal_fd(&[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP])
        .or_system(|| "cannot wait for signals")?;
    let mut child = match make(invocation)? {
        Made::Delegated(outcome) => return outcome,
        Made::Sandbox(child) => child,
    };
    let id = invocation.id()?;
    let find = || match store::find(&invocation.root, id)? {
        Some(Found::Ours(sandbox)) => Ok(sandbox),
        _ => Err(store::does_not_exist(id)),
    };
    if let Err(failure) = find().and_then(|sandbox| verbs::start_sandbox(invocation, &sandbox)) {
        if let Ok(sandbox) = find() {
            verbs::remove(&invocation.root, &sandbox)?;
        }
        return Err(failure);
    }
    if invocation.is_set("detach") {
        return Ok(0);
    }
    attend(&child, &signals, find)?;
    let status = child
        .wait()
        .map_err(|error| Failure::new(format!("the sandbox's end is not known: {error}")))?;
    if !invocation.is_set("keep")
        && let Ok(sandbox) = find()
        && let Err(failure) = verbs::remove(&invocation.root, &sandbox)
    {
        log.warning(&failure.message);
    }
    let by_signal = status.signal().map(|signal| 128 + signal);
    Ok(status.code().or(by_signal).unwrap_or(255) as u8)
}

/// Hands signals of ours on until the warden has ended.
fn attend(
    child: &Child,
    signals: &OwnedFd,
    find: impl Fn() -> Result<Box<store::Sandbox>, Failure>,
) -> Result<(), Failure> {
    let pid = Pid::from_raw(child.id() as i32).ok_or_else(|| Failure::new("the sandbox has no process"))?;
    let ended =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).or_system(|| "cannot wait for the sandbox")?;
    loop {
        let mut fds = [
            rustix::event::PollFd::new(&ended, rustix::event::PollFlags::IN),
            rustix::event::PollFd::new(signals, rustix::event::PollFlags::IN),
        ];
        let _ = rustix::event::poll(&mut fds, None);
        if !fds[0].revents().is_empty() {
            return Ok(());
        }
        while let Some(signal) = sys::next_signal(signals.as_fd()) {
            if let Ok(sandbox) = find() {
                let _ = control::ask(&sandbox.dir, json!({"op": "signal", "signal": signal}));
            }
        }
    }
}

fn make(invocation: &Invocation) -> Result<Made, Failure> {
    let id = invocation.id()?;
    let bundle = real_bundle(invocation)?;
    let config = read_config(&bundle)?;
    store::make_root(&invocation.root)?;
    store::sweep_unfinished(&invocation.root);
    let root = std::fs::canonicalize(&invocation.root).map_err(|error| {
        Failure::new(format!(
            "the root {} cannot be used: {error}",
            invocation.root.display()
        ))
    })?;
    if store::find(&root, id)?.is_some() || root.join(id).exists() {
        return Err(store::exists(id));
    }
    let call = Call {
        invocation,
        id,
        state_dir: root.join(id),
        bundle,
    };
    let neighbours = store::neighbours(&root, id, pod_of(&config))?;
    let request = CreateRequest {
        op: "create",
        version: 1,
        id,
        bundle: &call.bundle,
        state_dir: &call.state_dir,
        systemd_cgroup: invocation.systemd_cgroup,
        console: invocation.flag("console-socket").is_some(),
        neighbours: neighbours.all,
        guests: neighbours.guests,
        path: std::env::var("PATH").unwrap_or_default(),
    };
    let (mut brain, decision) = brain::decide(invocation, &request)?;
    match decision {
        Decision::Delegate(to) => {
            brain.end();
            Ok(Made::Delegated(hand_over(&call, &to, pod_of(&config))))
        }
        Decision::Sandbox(first) => {
            invocation.refuse_unknown()?;
            // Of a container by this id that never came to be.
            store::unmark(&root, id);
            sandbox(&call, &config, &mut brain, first).map(Made::Sandbox)
        }
    }
}

fn real_bundle(invocation: &Invocation) -> Result<PathBuf, Failure> {
    let given = invocation.flag("bundle").unwrap_or(".");
    std::fs::canonicalize(given).map_err(|error| Failure::new(format!("the bundle {given}: {error}")))
}

fn read_config(bundle: &Path) -> Result<Value, Failure> {
    let path = bundle.join("config.json");
    let text = store::read_limited(&path, MAX_CONFIG)?;
    serde_json::from_slice(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// A container: the other runtime takes our place. The mark tells later verbs; one whose container never came to be is swept away.
fn hand_over(call: &Call<'_>, to: &Delegate, pod: Option<&str>) -> Outcome {
    let root = &call.invocation.root;
    store::mark(root, call.id, &to.program, pod)?;
    let mut arguments = call.invocation.for_others.clone();
    if let Some(bundle) = &to.bundle {
        replace_bundle(&mut arguments, bundle);
    }
    if let Some(notes) = &to.notes {
        Log::open(call.invocation).warning(notes);
    }
    delegate::become_runtime(&to.program, &arguments)
}

/// The arguments with another bundle: ours last, so that it counts, and before the id.
fn replace_bundle(arguments: &mut Vec<String>, bundle: &Path) {
    let verb = arguments
        .iter()
        .position(|word| word == "create" || word == "run")
        .map_or(arguments.len(), |at| at + 1);
    let is_bundle = |word: &str| matches!(word, "--bundle" | "-bundle" | "-b" | "--b");
    let mut at = verb;
    while at < arguments.len() {
        if is_bundle(&arguments[at]) {
            arguments.drain(at..(at + 2).min(arguments.len()));
        } else if arguments[at]
            .split_once('=')
            .is_some_and(|(name, _)| is_bundle(name))
        {
            arguments.remove(at);
        } else {
            at += 1;
        }
    }
    arguments.insert(verb, format!("--bundle={}", bundle.display()));
}

/// The pod that a container belongs to, by containerd's annotations or CRI-O's; nothing for the pod's own sandbox.
fn pod_of(config: &Value) -> Option<&str> {
    let said = |key: &str| config.get("annotations")?.get(key)?.as_str();
    let kind = said("io.kubernetes.cri.container-type").or_else(|| said("io.kubernetes.cri-o.ContainerType"));
    if kind != Some("container") {
        return None;
    }
    said("io.kubernetes.cri.sandbox-id").or_else(|| said("io.kubernetes.cri-o.SandboxID"))
}

fn record_of(call: &Call<'_>, config: &Value) -> Result<Record, Failure> {
    let field = |name: &str| format!("{}/config.json: {name}", call.bundle.display());
    let mut annotations = BTreeMap::new();
    match config.get("annotations") {
        None | Some(Value::Null) => {}
        Some(Value::Object(all)) => {
            for (key, value) in all {
                let text = value.as_str().ok_or_else(|| {
                    Failure::new(format!("{} is not text", field(&format!("annotations.{key}"))))
                })?;
                annotations.insert(key.clone(), text.to_string());
            }
        }
        Some(_) => return Err(Failure::new(format!("{} is not an object", field("annotations")))),
    }
    let root = config
        .pointer("/root/path")
        .and_then(Value::as_str)
        .unwrap_or("rootfs");
    Ok(Record {
        version: 1,
        oci_version: config
            .get("ociVersion")
            .and_then(Value::as_str)
            .unwrap_or("1.0.2")
            .to_string(),
        bundle: call.bundle.display().to_string(),
        rootfs: call.bundle.join(root).display().to_string(),
        annotations,
        created: clock::now(),
        systemd_cgroup: call.invocation.systemd_cgroup,
        console: call.invocation.flag("console-socket").is_some(),
        pod: pod_of(config).map(str::to_string),
        lib: call.invocation.lib(),
        maker: process::name_of(std::process::id() as i32),
    })
}

fn sandbox(call: &Call<'_>, config: &Value, brain: &mut Brain, first: Vec<u8>) -> Result<Child, Failure> {
    let record = record_of(call, config)?;
    let console = call
        .invocation
        .flag("console-socket")
        .map(|path| connect(Path::new(path), "console"))
        .transpose()?;
    let path = store::reserve(
        call.state_dir.parent().unwrap_or(Path::new("/")),
        call.id,
        &record,
    )?;
    let mut child = None;
    let result = warden(call, &record, console).and_then(|(warden, connection)| {
        let mut owner = Connection::new(connection, 0, true);
        let pid = warden.id();
        child = Some(warden);
        brain.converse(first, &mut owner)?;
        if let Some(file) = call.invocation.flag("pid-file") {
            write_pid_file(Path::new(file), pid)?;
        }
        if let Some(socket) = call.invocation.flag("pidfd-socket") {
            send_pidfd(Path::new(socket), pid)?;
        }
        release(&mut owner)
    });
    match (result, child) {
        (Ok(()), Some(child)) => Ok(child),
        (result, child) => {
            give_up(&path, &record, child);
            Err(result.err().unwrap_or_else(|| Failure::new("there is no warden")))
        }
    }
}

/// The warden, whose parent is whoever reaps our orphans once we are gone, and our end of its owner's connection.
fn warden(call: &Call<'_>, record: &Record, console: Option<OwnedFd>) -> Result<(Child, OwnedFd), Failure> {
    let (ours, theirs) = crate::unix_socket::pair().or_system(|| "cannot make a socket pair")?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("tripod-warden")
        .arg("serve")
        .arg("--dir")
        .arg(&call.state_dir)
        .arg("--lib")
        .arg(&record.lib)
        .args(console.iter().map(|_| "--console"))
        .env_clear()
        .current_dir("/");
    if console.is_some() {
        // The sandbox's streams are the terminal: whoever reads ours must see their end when `create` is done.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }
    // Out of the way of the numbers that they are wanted at.
    let above =
        |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 5).or_system(|| "cannot copy a descriptor");
    let (theirs, console) = (above(&theirs)?, console.as_ref().map(above).transpose()?);
    let console_number = console.as_ref().map(AsRawFd::as_raw_fd);
    let theirs_number = theirs.as_raw_fd();
    // SAFETY: the closure makes system calls alone, on descriptors that live until the spawn.
    unsafe {
        command.pre_exec(move || {
            sys::unblock_signals();
            if libc::dup2(theirs_number, 3) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            match console_number {
                Some(number) if libc::dup2(number, 4) < 0 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
    }
    let child = command
        .spawn()
        .map_err(|error| Failure::new(format!("the warden cannot be started: {error}")))?;
    Ok((child, ours))
}

/// From here on the sandbox stays without us.
fn release(owner: &mut Connection) -> Result<(), Failure> {
    owner.forward(br#"{"id":0,"op":"release"}"#);
    if wait_readable(owner.fd(), Duration::from_secs(10)) && !owner.receive().is_empty() {
        return Ok(());
    }
    Err(Failure::new("the warden ended before the sandbox was created"))
}

/// Its owner's connection is closed by now: the warden undoes everything. What it could not do is done here.
fn give_up(path: &Path, record: &Record, child: Option<Child>) {
    if let Some(mut child) = child {
        let ended = Pid::from_raw(child.id() as i32)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok())
            .is_none_or(|pidfd| wait_readable(pidfd.as_fd(), UNDO_PATIENCE));
        if !ended {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
    if path.exists() {
        let options = Options {
            dir: path.to_path_buf(),
            lib: record.lib.clone(),
            console: false,
        };
        if let Err(error) = undo::undo(&options) {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// Hands a descriptor of the process that the pid file names to whoever listens.
fn send_pidfd(path: &Path, pid: u32) -> Result<(), Failure> {
    let what = || format!("the pidfd cannot be handed to {}", path.display());
    let socket = connect(path, "pidfd")?;
    let pid = Pid::from_raw(pid as i32).ok_or_else(|| Failure::new(what()))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).or_system(what)?;
    Ok(send_fd(socket.as_fd(), b"pidfd", pidfd.as_fd()).or_system(what)?)
}

/// A socket's address holds 107 bytes; a longer path is reached through a descriptor of its directory.
fn connect(path: &Path, of: &str) -> Result<OwnedFd, Failure> {
    let what = || format!("the {of} socket {} cannot be reached", path.display());
    let directory = std::fs::File::open(
        path.parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )
    .or_system(what)?;
    let name = path
        .file_name()
        .ok_or_else(|| Failure::new(format!("{}: it names no file", what())))?;
    Ok(crate::unix_socket::connect_in(directory.as_fd(), name, SocketFlags::empty()).or_system(what)?)
}

/// Whole or not at all, as runc writes it.
fn write_pid_file(path: &Path, pid: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "the pid file {} cannot be written: {error}",
            path.display()
        ))
    };
    let name = path
        .file_name()
        .ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
    let temporary = path.with_file_name(format!(".{}", name.to_string_lossy()));
    std::fs::write(&temporary, pid.to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_bundle_takes_the_callers_place() {
        let replaced = |line: &str| {
            let mut words: Vec<String> = line.split(' ').map(str::to_string).collect();
            replace_bundle(&mut words, Path::new("/n"));
            words.join(" ")
        };
        assert_eq!(
            replaced("--root /r create --bundle /b --pid-file /p a"),
            "--root /r create --bundle=/n --pid-file /p a"
        );
        assert_eq!(replaced("run -b=/b a"), "run --bundle=/n a");
        assert_eq!(replaced("create a"), "create --bundle=/n a");
    }
}
