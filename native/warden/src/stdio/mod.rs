//! The workload's standard streams: pipes or a terminal, read by the warden, logged, and copied to the warden's own streams.

mod log;
mod pipes;
mod stream;

use crate::error::{Context, Error, Result};
use crate::plan::{Stdin, Stdio};
use crate::state_dir::StateDir;
use log::Log;
pub use pipes::{Held, open as open_pipes};
use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use stream::{Feed, Source};

/// The ends that the workload gets.
pub struct Ends {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// An engine's streams for a program, as they are: our own, or a terminal of which the engine gets the other end.
pub fn engine_ends(stdio: &Stdio, console: Option<OwnedFd>, owner: (u32, u32)) -> Result<Ends> {
    if !stdio.terminal {
        let copy = |fd: BorrowedFd<'_>| {
            fd.try_clone_to_owned()
                .map_err(|error| Error::system("cannot copy a standard stream", error))
        };
        return Ok(Ends {
            stdin: copy(rustix::stdio::stdin())?,
            stdout: copy(rustix::stdio::stdout())?,
            stderr: copy(rustix::stdio::stderr())?,
        });
    }
    let console = console.ok_or_else(|| Error::step("a terminal is asked for, and nobody waits for it"))?;
    let (master, ends) = terminal(owner)?;
    if let (Some(rows), Some(cols)) = (stdio.rows, stdio.cols) {
        set_window(&master, rows, cols)?;
    }
    crate::stage::send_fd(console.as_fd(), b"/dev/ptmx", master.as_fd())
        .or_system(|| "cannot hand the terminal to the console socket")?;
    Ok(ends)
}

/// A new terminal: its master end, and the other end three times, owned by `owner` (uid, gid).
fn terminal(owner: (u32, u32)) -> Result<(OwnedFd, Ends)> {
    let what = || "cannot make a terminal";
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags).or_system(what)?;
    rustix::pty::unlockpt(&master).or_system(what)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).or_system(what)?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(owner.0),
        rustix::fs::Gid::from_raw(owner.1),
    );
    rustix::fs::fchown(&slave, Some(uid), Some(gid)).or_system(what)?;
    let copy = || slave.try_clone().map_err(|error| Error::system(what(), error));
    let ends = Ends {
        stdin: copy()?,
        stdout: copy()?,
        stderr: copy()?,
    };
    Ok((master, ends))
}

fn set_window(terminal: &OwnedFd, rows: u16, cols: u16) -> Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).or_system(|| "cannot set the size of the terminal")
}

fn log_of(stdio: &Stdio, dir: &StateDir) -> Result<Log> {
    let limits = stdio
        .log
        .as_ref()
        .ok_or_else(|| Error::step("streams that the warden reads need the limits of their log"))?;
    Log::open(dir, limits)
}

/// What the event loop waits for on behalf of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    Source(usize),
    Feed,
}

pub struct Streams {
    /// stdout and stderr; one only on a terminal.
    sources: Vec<Source>,
    /// The user's keys, on their way to the terminal.
    feed: Option<Feed>,
    terminal: Option<OwnedFd>,
    log: Log,
}

impl Streams {
    /// Makes pipes or a terminal for a program that is spawned, owned by `owner` (uid, gid).
    pub fn for_program(stdio: &Stdio, dir: &StateDir, owner: (u32, u32)) -> Result<(Streams, Ends)> {
        if !stdio.terminal {
            return Streams::pipes(stdio, dir, owner);
        }
        let (master, ends) = terminal(owner)?;
        Ok((Streams::on_terminal(stdio, dir, master)?, ends))
    }

    /// Pipes, whatever `stdio.terminal` says.
    pub fn pipes(stdio: &Stdio, dir: &StateDir, owner: (u32, u32)) -> Result<(Streams, Ends)> {
        let what = || "cannot make a pipe";
        let mut sources = Vec::new();
        let mut ends = Vec::new();
        for number in [1, 2] {
            let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).or_system(what)?;
            rustix::io::ioctl_fionbio(&ours, true).or_system(what)?;
            // So that the program may open /dev/stdout anew, as many do.
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(owner.0),
                rustix::fs::Gid::from_raw(owner.1),
            );
            rustix::fs::fchown(&theirs, Some(uid), Some(gid)).or_system(what)?;
            sources.push(Source::new(ours, number, stdio.tee));
            ends.push(theirs);
        }
        let stdin = match stdio.stdin {
            Stdin::Inherit | Stdin::Engine => rustix::stdio::stdin().try_clone_to_owned(),
            Stdin::Null => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(std::io::Error::from),
        };
        let stdin = stdin.map_err(|error| Error::system("cannot open the standard input", error))?;
        let (Some(stderr), Some(stdout)) = (ends.pop(), ends.pop()) else {
            return Err(Error::step(what()));
        };
        let streams = Streams {
            sources,
            feed: None,
            terminal: None,
            log: log_of(stdio, dir)?,
        };
        Ok((
            streams,
            Ends {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    /// Streams on the master end of a terminal.
    pub fn on_terminal(stdio: &Stdio, dir: &StateDir, master: OwnedFd) -> Result<Streams> {
        let what = || "cannot use the terminal";
        rustix::io::ioctl_fionbio(&master, true).or_system(what)?;
        let copy = || master.try_clone().map_err(|error| Error::system(what(), error));
        let source = Source::new(copy()?, 1, stdio.tee);
        let feed = (stdio.stdin == Stdin::Inherit).then(Feed::default);
        let streams = Streams {
            sources: vec![source],
            feed,
            terminal: Some(master),
            log: log_of(stdio, dir)?,
        };
        if let (Some(rows), Some(cols)) = (stdio.rows, stdio.cols) {
            streams.resize(rows, cols)?;
        }
        Ok(streams)
    }

    /// A terminal's output goes to these streams in place of our own, and its keys come from them.
    pub fn pass_to(mut self, ends: Ends) -> Streams {
        if let Some(source) = self.sources.first_mut() {
            source.copy_to(ends.stdout);
        }
        self.feed = Some(Feed::from(ends.stdin));
        self
    }

    /// Lets a workload whose output nobody reads any more see that, as a program in a pipeline does: its next write fails. Not for a guest, which
    /// has no way to be told: there the log goes on.
    pub fn end_with_reader(mut self) -> Streams {
        for source in &mut self.sources {
            source.end_with_reader();
        }
        self
    }

    pub fn resize(&self, rows: u16, cols: u16) -> Result<()> {
        let Some(terminal) = &self.terminal else {
            return Err(Error::not_allowed("the sandbox has no terminal"));
        };
        set_window(terminal, rows, cols)
    }

    /// Which descriptors to wait on now, and for what.
    pub fn interests(&self) -> Vec<(Interest, BorrowedFd<'_>, PollFlags)> {
        let mut list = Vec::with_capacity(3);
        for (index, source) in self.sources.iter().enumerate() {
            if let Some((fd, flags)) = source.interest() {
                list.push((Interest::Source(index), fd, flags));
            }
        }
        if let (Some(feed), Some(terminal)) = (&self.feed, &self.terminal) {
            let (fd, flags) = feed.interest(terminal.as_fd());
            list.push((Interest::Feed, fd, flags));
        }
        list
    }

    /// Moves what can be moved for one interest that is ready.
    pub fn advance(&mut self, interest: Interest) {
        match interest {
            Interest::Source(index) => {
                if let Some(source) = self.sources.get_mut(index) {
                    source.advance(&mut self.log);
                    if source.is_abandoned() {
                        // The last of our ends: the kernel hangs the terminal up.
                        self.terminal = None;
                        self.feed = None;
                    }
                }
            }
            Interest::Feed => {
                if let (Some(feed), Some(terminal)) = (&mut self.feed, &self.terminal)
                    && !feed.advance(terminal.as_fd())
                {
                    self.feed = None;
                }
            }
        }
    }

    /// After the workload's end: reads what is still in the pipes, as far as it can be passed on now. True when nothing is left.
    pub fn drain(&mut self) -> bool {
        self.feed = None;
        for source in &mut self.sources {
            source.drain(&mut self.log);
        }
        self.sources.iter().all(Source::is_done)
    }
}
