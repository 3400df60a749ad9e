//! `start`: the task's socket, and behind it a warden that waits to be told what the task is.

use super::Places;
use super::arguments::Invocation;
use rustix::fs::Mode;
use rustix::net::SocketFlags;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Clients that wait to be let in.
const BACKLOG: i32 = 128;

pub fn start(invocation: &Invocation) -> Result<(), String> {
    let places = Places::find();
    let bundle = std::env::current_dir().map_err(|error| format!("the bundle is not there: {error}"))?;
    let socket = places.socket(invocation);
    // A warden that answers is this task's already.
    if UnixStream::connect(&socket).is_err() {
        make(&places, invocation, &bundle, &socket)?;
    }
    let address = format!("unix://{}", socket.display());
    // containerd 1.6 reads it back after a restart.
    write_whole(&bundle.join("address"), &address)?;
    super::proto::print(address.as_bytes())
}

fn make(places: &Places, invocation: &Invocation, bundle: &Path, socket: &Path) -> Result<(), String> {
    let dir = places.task(invocation);
    super::delete::clear(places, invocation)?;
    for path in [dir.as_path(), socket.parent().unwrap_or(&places.run), &places.lib] {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| format!("{} cannot be made: {error}", path.display()))?;
    }
    if UnixStream::connect(places.run.join("tripodd.sock")).is_err() {
        super::daemon::start(&places.run, None)?;
    }
    let spawned = listen(socket).and_then(|listener| warden(places, invocation, bundle, &listener));
    if spawned.is_err() {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_dir(&dir);
    }
    spawned
}

/// A socket for root alone.
fn listen(socket: &Path) -> Result<OwnedFd, String> {
    let failed = |error: std::io::Error| format!("cannot listen on {}: {error}", socket.display());
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(format!("{} is no place for a socket", socket.display()));
    };
    // One that nobody answers on.
    let _ = std::fs::remove_file(socket);
    let parent = File::open(parent).map_err(failed)?;
    crate::unix_socket::listen_in(parent.as_fd(), name, SocketFlags::NONBLOCK, 0o177, BACKLOG)
        .map_err(|error| failed(error.into()))
}

/// The warden, in a session of its own; its complaints go where containerd reads a shim's log.
fn warden(places: &Places, invocation: &Invocation, bundle: &Path, listener: &OwnedFd) -> Result<(), String> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("tripod-warden")
        .arg("task")
        .arg("--dir")
        .arg(places.task(invocation))
        .arg("--lib")
        .arg(&places.lib)
        .arg("--run")
        .arg(&places.run)
        .arg("--bundle")
        .arg(bundle)
        .args(["--namespace", &invocation.namespace])
        .arg("--socket")
        .arg(places.socket(invocation))
        .args(["--publish", &publish_address(invocation)])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log_of(bundle));
    let number = listener.as_raw_fd();
    // SAFETY: the closure makes system calls alone, on a descriptor that lives until the spawn.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            if libc::dup2(number, 3) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The same number loses nothing by being copied onto itself but keeps its flag.
            if number == 3 && libc::fcntl(3, libc::F_SETFD, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command
        .spawn()
        .map_err(|error| format!("the warden cannot be started: {error}"))?;
    dies_before_containerd(child.id());
    Ok(())
}

/// Where memory is short, containerd, whose child we are, goes last.
fn dies_before_containerd(pid: u32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").ok();
    if let Some(score) = own.and_then(|text| text.trim().parse::<i32>().ok()) {
        // A host that does not allow it keeps the score.
        let _ = std::fs::write(
            format!("/proc/{pid}/oom_score_adj"),
            (score + 1).min(1000).to_string(),
        );
    }
}

/// Where events go: containerd's socket for ttrpc.
fn publish_address(invocation: &Invocation) -> String {
    std::env::var("TTRPC_ADDRESS").unwrap_or_else(|_| format!("{}.ttrpc", invocation.address))
}

fn log_of(bundle: &Path) -> Stdio {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(bundle.join("log"))
        .map_or_else(|_| Stdio::null(), Stdio::from)
}

fn write_whole(path: &Path, text: &str) -> Result<(), String> {
    let aside: PathBuf = path.with_extension("new");
    std::fs::write(&aside, text)
        .and_then(|()| rustix::fs::chmod(&aside, Mode::from_raw_mode(0o600)).map_err(Into::into))
        .and_then(|()| std::fs::rename(&aside, path))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}
