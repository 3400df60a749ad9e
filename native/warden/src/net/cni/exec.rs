//! One call of one plugin: environment, standard streams, deadline, and what its answer means.

use super::CniContext;
use super::list::{List, Plugin};
use super::record::{Record, read_bounded};
use crate::error::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, FlockOperation, MemfdFlags, Mode, OFlags, access, flock, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// One plugin may take this long: address leases and iptables are behind locks of the whole machine.
const DEADLINE: Duration = Duration::from_secs(30);
const TURN_WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
/// Plugins start iptables and others by name.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of a plugin's complaint on standard error this much is repeated.
const MAX_COMPLAINT_CHARS: usize = 600;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
        }
    }
}

/// A plugin with its place in its list and on the machine.
pub(super) struct Found<'a> {
    list: &'a List,
    plugin: &'a Plugin,
    program: PathBuf,
}

/// Runs one plugin and returns its standard output. An ADD's output stays in the state directory until its result is kept there.
pub(super) fn run(
    context: &CniContext,
    record: &Record,
    found: &Found,
    command: Command,
    netns: &str,
    config: &[u8],
) -> Result<Vec<u8>> {
    let Found {
        list,
        plugin,
        program,
    } = found;
    let what = || {
        format!(
            "network {}: the plugin {} ({})",
            list.name,
            plugin.program,
            command.name()
        )
    };
    let _alone = match command {
        Command::Add => Some(alone(context.host_netns).or_system(what)?),
        Command::Del => None,
    };
    let input = scratch(config).or_system(what)?;
    let mut complaint = scratch(&[]).or_system(what)?;
    // The output of DEL must not take the place of the result that a later attempt needs.
    let output = match command {
        Command::Add => record.output()?,
        Command::Del => scratch(&[]).or_system(what)?,
    };
    let mut process = std::process::Command::new(program);
    process
        .env_clear()
        .env("PATH", PATH)
        .env("CNI_COMMAND", command.name())
        .env("CNI_CONTAINERID", context.id)
        .env("CNI_NETNS", netns)
        .env("CNI_IFNAME", context.interface)
        .env("CNI_ARGS", "IgnoreUnknown=1")
        .env("CNI_PATH", join(&context.plugin_dirs))
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output.try_clone().or_system(what)?))
        .stderr(Stdio::from(complaint.try_clone().or_system(what)?));
    let (host, lock) = (context.host_netns.as_raw_fd(), record.lock.as_raw_fd());
    // SAFETY: between fork and exec `enter_host` makes only system calls, and both fds stay open until `spawn` returns.
    unsafe { process.pre_exec(move || enter_host(host, lock)) };
    let mut child = process
        .spawn()
        .or_system(|| format!("{} cannot be started: {}", what(), program.display()))?;
    let status = wait(&mut child, DEADLINE).or_system(what)?;
    let answer = rewind_and_read(output).or_system(what)?;
    let Some(status) = status else {
        return Err(Error::step(format!(
            "{} did not end within {} s and was killed",
            what(),
            DEADLINE.as_secs()
        )));
    };
    if status.success() {
        return Ok(answer);
    }
    if command == Command::Add {
        record.forget_output()?;
    }
    complaint.seek(SeekFrom::Start(0)).or_system(what)?;
    let complaint = read_bounded(complaint).unwrap_or_default();
    Err(Error::step(format!(
        "{} failed: {}",
        what(),
        reason(status, &answer, &complaint)
    )))
}

/// The result that ADD wrote.
pub(super) fn result(list: &List, plugin: &Plugin, answer: &[u8]) -> Result<Value> {
    let problem = |reason: String| {
        Error::step(format!(
            "network {}: the plugin {} answered no CNI result: {reason}",
            list.name, plugin.program
        ))
    };
    let value: Value = serde_json::from_slice(answer).map_err(|error| problem(error.to_string()))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(problem("no JSON object".into())),
    }
}

/// Looks for a plugin in the directories, by its plain name only.
pub(super) fn find<'a>(dirs: &[PathBuf], list: &'a List, plugin: &'a Plugin) -> Result<Found<'a>> {
    let candidates = dirs.iter().map(|dir| dir.join(&plugin.program));
    let is_program = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let program = candidates.into_iter().find(is_program).ok_or_else(|| {
        Error::step(format!(
            "network {} needs the CNI plugin {}, which is in none of {}; install the package containernetworking-plugins",
            list.name,
            plugin.program,
            join(dirs)
        ))
    })?;
    Ok(Found {
        list,
        plugin,
        program,
    })
}

fn join(dirs: &[PathBuf]) -> String {
    dirs.iter()
        .map(|dir| dir.to_string_lossy())
        .collect::<Vec<_>>()
        .join(":")
}

/// One ADD at a time on the whole machine: plugins of one moment fail over the iptables chains that they share (`File exists`).
/// The lock is on the host's network namespace itself, so that several installations meet at it and no file stays.
/// After 60 s goes on without: a race is better than a machine that starts nothing because one sandbox hangs.
fn alone(host_netns: BorrowedFd) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", host_netns.as_raw_fd());
    // Opened anew, since a lock belongs to an open file, and the warden's own is shared with its children.
    let lock = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    take(&lock, TURN_WAIT)?;
    Ok(lock)
}

/// Tries to lock an open file for a while. Returns whether it is locked.
pub(super) fn take(lock: &OwnedFd, limit: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(POLL),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// An anonymous file with this content, read from its start.
fn scratch(content: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("cni", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn rewind_and_read(mut output: File) -> std::io::Result<Vec<u8>> {
    output.seek(SeekFrom::Start(0))?;
    read_bounded(output)
}

/// In the child: into the host's network namespace, with no signal blocked, and nothing inherited but the standard streams and the lock.
fn enter_host(host: i32, lock: i32) -> std::io::Result<()> {
    // SAFETY: `run` keeps both fds open until the child has been started.
    let (host, lock) = unsafe { (BorrowedFd::borrow_raw(host), BorrowedFd::borrow_raw(lock)) };
    // The warden blocks signals that it reads from an fd; plugins and their iptables expect none blocked.
    // SAFETY: both calls write to `none`, which outlives them; they are async-signal-safe.
    unsafe {
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
    move_into_link_name_space(host, Some(LinkNameSpaceType::Network))?;
    // SAFETY: close_range with CLOEXEC closes nothing now; it takes no pointers.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    fcntl_setfd(lock, FdFlags::empty())?;
    Ok(())
}

/// Waits for the child; None if it had to be killed, with its whole process group.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| has_ended(&pidfd, limit));
    if ended == Ok(true) {
        return child.wait().map(Some);
    }
    // The child is not yet waited for, so its group's number is still its own.
    let _ = kill_process_group(pid, Signal::KILL);
    child.wait()?;
    ended.map(|_| None).map_err(Into::into)
}

fn has_ended(pidfd: &OwnedFd, limit: Duration) -> std::result::Result<bool, Errno> {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0),
        }
    }
}

/// Why a plugin failed: its own error object, else its standard error, else its exit status.
fn reason(status: ExitStatus, answer: &[u8], complaint: &[u8]) -> String {
    if let Ok(error) = serde_json::from_slice::<Value>(answer)
        && let Some(message) = error["msg"].as_str()
    {
        let details = error["details"].as_str().filter(|details| !details.is_empty());
        let details = details.map(|details| format!("; {details}")).unwrap_or_default();
        return shorten(&format!("{message}{details} (CNI error {})", error["code"]));
    }
    let complaint = String::from_utf8_lossy(complaint);
    match complaint.trim() {
        "" => status.to_string(),
        text => shorten(text),
    }
}

/// One line of bounded length without control characters: it goes to a terminal.
fn shorten(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_COMPLAINT_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_hangs_is_killed_with_its_children() {
        let mut command = std::process::Command::new("/bin/sh");
        command
            .args(["-c", "sleep 600 & echo $!; wait"])
            .process_group(0)
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let start = Instant::now();
        assert_eq!(
            wait(&mut child, Duration::from_millis(300)).expect("waited"),
            None
        );
        assert!(start.elapsed() < Duration::from_secs(5));
        let mut said = String::new();
        // Ends only when nobody holds the pipe any more: the grandchild is gone too.
        std::io::Read::read_to_string(&mut child.stdout.take().expect("output"), &mut said).expect("read");
        assert!(said.trim().parse::<u32>().is_ok(), "{said}");
    }
}
