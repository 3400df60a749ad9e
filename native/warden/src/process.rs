//! Processes as the state names them: pid and start time, so that a reused pid is never mistaken.

use crate::error::{Context, Result};
use crate::protocol::ProcessName;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Fields 3 (the state) and 22 (the start, in clock ticks since boot) of /proc/PID/stat; `None` when there is no such process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also parentheses and spaces.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// When a process started, in clock ticks since boot; `None` when there is none.
pub fn start_ticks(pid: i32) -> Option<u64> {
    Some(stat(pid)?.1)
}

/// Whether a process is there and runs: one that has ended and waits for its parent does not.
pub fn lives(name: &ProcessName) -> bool {
    stat(name.pid)
        .is_some_and(|(state, start_ticks)| !matches!(state, 'Z' | 'X') && start_ticks == name.start_ticks)
}

pub fn name_of(pid: i32) -> ProcessName {
    ProcessName {
        pid,
        start_ticks: start_ticks(pid).unwrap_or(0),
    }
}

/// A process that we can signal without a race against its end.
pub struct Process {
    pub name: ProcessName,
    pidfd: OwnedFd,
}

impl Process {
    pub fn new(pid: i32, pidfd: OwnedFd) -> Process {
        Process {
            name: name_of(pid),
            pidfd,
        }
    }

    pub fn open(pid: i32) -> Result<Process> {
        let what = || format!("cannot open process {pid}");
        let id = Pid::from_raw(pid)
            .ok_or(rustix::io::Errno::SRCH)
            .or_system(what)?;
        let pidfd = rustix::process::pidfd_open(id, PidfdFlags::empty()).or_system(what)?;
        Ok(Process::new(pid, pidfd))
    }

    /// Sends a signal by number (real-time ones too). A process that is gone is no error.
    pub fn signal(&self, signal: u8) -> Result<()> {
        match crate::sys::pidfd_signal(self.pidfd.as_fd(), i32::from(signal)) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(crate::error::Error::system(
                format!("cannot send signal {signal} to process {}", self.name.pid),
                error,
            )),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the process, waits until it is gone and reaps it if it is our child. Returns false when it would not die in 10 s.
    pub fn end(&self) -> bool {
        let _ = self.signal(9);
        let gone = wait_readable(self.fd(), Duration::from_secs(10));
        if let Some(pid) = Pid::from_raw(self.name.pid) {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
        gone
    }
}

/// Waits until `fd` can be read or is at its end; false when `patience` passed.
pub fn wait_readable(fd: BorrowedFd<'_>, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
