//! Runs a program of the host's to its end: explicit environment, bounded output, a deadline, and gone with us.

use crate::error::{Error, Result};
use crate::process::Process;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Bytes of output that are kept; a program that says more is heard out and cut.
const OUTPUT_LIMIT: usize = 64 << 10;

pub struct Finished {
    pub status: ExitStatus,
    /// What it said, as far as it was captured.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The last line that the program wrote to stderr, or what its status says.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        match text.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => line.trim().to_string(),
            None => match (self.status.code(), self.status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => "ended".to_string(),
            },
        }
    }
}

/// Makes `command` die with us, and join `netns` first if one is given. Signals are unblocked and SIGPIPE is as it was.
pub fn tie(command: &mut Command, netns: Option<BorrowedFd<'_>>) {
    let netns = netns.map(|fd| fd.try_clone_to_owned());
    // SAFETY: the closure only makes system calls, on memory that was set up before the fork.
    unsafe {
        command.pre_exec(move || {
            crate::sys::parent_death_signal(libc::SIGKILL);
            crate::sys::ignore_sigpipe(false);
            crate::sys::unblock_signals();
            match &netns {
                Some(Ok(fd)) => Ok(crate::sys::setns(fd.as_fd(), libc::CLONE_NEWNET)?),
                Some(Err(_)) => Err(std::io::Error::from_raw_os_error(libc::EMFILE)),
                None => Ok(()),
            }
        });
    }
}

/// Runs `command` (see `tie`) with `input` on its stdin. Streams that the caller has not set are captured.
pub fn run(command: &mut Command, input: &[u8], deadline: Duration, capture: bool) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let end = Instant::now() + deadline;
    if capture {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }
    let mut child = command
        .spawn()
        .map_err(|error| Error::system(format!("cannot run {program}"), error))?;
    let process = Process::open(child.id() as i32)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut pump = Pump {
        stdin: stdin.filter(|_| !input.is_empty()).map(OwnedFd::from),
        input,
        outputs: [
            (stdout.map(OwnedFd::from), Vec::new()),
            (stderr.map(OwnedFd::from), Vec::new()),
        ],
    };
    while pump.step(process.fd(), end) {}
    let in_time = crate::process::wait_readable(process.fd(), end.saturating_duration_since(Instant::now()));
    if !in_time {
        let _ = process.signal(9);
    }
    let status = child
        .wait()
        .map_err(|error| Error::system(format!("cannot wait for {program}"), error))?;
    let [_, (_, stderr)] = pump.outputs;
    if !in_time {
        return Err(Error::step(format!(
            "{program} did not end within {} ms and was killed",
            deadline.as_millis()
        )));
    }
    Ok(Finished { status, stderr })
}

struct Pump<'a> {
    stdin: Option<OwnedFd>,
    input: &'a [u8],
    outputs: [(Option<OwnedFd>, Vec<u8>); 2],
}

impl Pump<'_> {
    /// Moves what can be moved; false when the streams are at their end, the program is, or the deadline has passed.
    fn step(&mut self, process: BorrowedFd<'_>, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || (self.stdin.is_none() && self.outputs.iter().all(|(fd, _)| fd.is_none())) {
            return false;
        }
        let mut fds = vec![PollFd::from_borrowed_fd(process, PollFlags::IN)];
        fds.extend(self.stdin.iter().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(
            self.outputs
                .iter()
                .filter_map(|(fd, _)| fd.as_ref())
                .map(|fd| PollFd::new(fd, PollFlags::IN)),
        );
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        if rustix::event::poll(&mut fds, Some(&timeout)).is_err() {
            return true;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ready = ready.into_iter();
        let ended = ready.next().unwrap_or(false);
        if self.stdin.is_some() && ready.next().unwrap_or(false) {
            self.feed();
        }
        for (slot, kept) in &mut self.outputs {
            if slot.is_some() && ready.next().unwrap_or(false) {
                drain_once(slot, kept);
            }
        }
        // A grandchild may hold the streams for ever: what the program itself said is in the pipes by now.
        if ended {
            for (slot, kept) in &mut self.outputs {
                while slot
                    .as_ref()
                    .is_some_and(|fd| crate::process::wait_readable(fd.as_fd(), Duration::ZERO))
                {
                    drain_once(slot, kept);
                }
            }
        }
        !ended
    }

    fn feed(&mut self) {
        let Some(fd) = self.stdin.take() else { return };
        let mut pipe = std::fs::File::from(fd);
        // At most what a ready pipe takes without blocking.
        match pipe.write(&self.input[..self.input.len().min(4096)]) {
            Ok(written) if written < self.input.len() => {
                self.input = &self.input[written..];
                self.stdin = Some(pipe.into());
            }
            // All written, or nobody reads: either way the pipe is closed.
            _ => {}
        }
    }
}

fn drain_once(slot: &mut Option<OwnedFd>, kept: &mut Vec<u8>) {
    let Some(fd) = slot.take() else { return };
    let mut buffer = [0u8; 4096];
    let mut file = std::fs::File::from(fd);
    match file.read(&mut buffer) {
        Ok(length) if length > 0 => {
            kept.extend_from_slice(&buffer[..length.min(OUTPUT_LIMIT.saturating_sub(kept.len()))]);
            *slot = Some(file.into());
        }
        _ => {}
    }
}
