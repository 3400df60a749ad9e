//! One stream each way. Output goes to the log first and then, at the reader's pace, to our own stream; the workload waits
//! when the reader does.

use super::log::Log;
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A pipe that can be written takes this much without blocking (PIPE_BUF).
const WRITE: usize = 4096;
const READ: usize = 8 << 10;

/// stdout or stderr of the workload.
pub struct Source {
    fd: Option<OwnedFd>,
    number: u8,
    tee: bool,
    /// Where it is copied to; none: to our own stream of the number.
    sink: Option<OwnedFd>,
    /// Logged, and still to be copied.
    pending: Vec<u8>,
    /// The workload's end is closed when our reader has gone, as in a pipeline.
    ends_with_reader: bool,
    /// It was.
    abandoned: bool,
    /// The workload has ended: nothing to read means nothing will come.
    ending: bool,
}

impl Source {
    pub fn new(fd: OwnedFd, number: u8, tee: bool) -> Source {
        Source {
            fd: Some(fd),
            number,
            tee,
            sink: None,
            pending: Vec::new(),
            ends_with_reader: false,
            abandoned: false,
            ending: false,
        }
    }

    pub fn end_with_reader(&mut self) {
        self.ends_with_reader = true;
    }

    /// Our reader has gone, and the workload is to learn it.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    pub fn copy_to(&mut self, sink: OwnedFd) {
        self.sink = Some(sink);
    }

    fn own_stream(&self) -> BorrowedFd<'_> {
        match &self.sink {
            Some(sink) => sink.as_fd(),
            None if self.number == 1 => rustix::stdio::stdout(),
            None => rustix::stdio::stderr(),
        }
    }

    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.pending.is_empty() {
            return Some((self.own_stream(), PollFlags::OUT));
        }
        self.fd.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN))
    }

    pub fn is_done(&self) -> bool {
        self.fd.is_none() && self.pending.is_empty()
    }

    pub fn advance(&mut self, log: &mut Log) {
        if self.pending.is_empty() {
            self.read(log)
        } else {
            self.write()
        }
    }

    fn read(&mut self, log: &mut Log) {
        let Some(fd) = &self.fd else { return };
        let mut buffer = [0u8; READ];
        match rustix::io::read(fd, &mut buffer) {
            Ok(length) if length > 0 => {
                log.write(self.number, &buffer[..length]);
                if self.tee {
                    self.pending.extend_from_slice(&buffer[..length]);
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if !self.ending => {}
            // The end: no writer is left (EIO is a terminal's way of saying so), or none that counts.
            _ => self.fd = None,
        }
    }

    fn write(&mut self) {
        let length = self.pending.len().min(WRITE);
        match rustix::io::write(self.own_stream(), &self.pending[..length]) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(Errno::PIPE) if self.ends_with_reader => {
                self.pending = Vec::new();
                self.fd = None;
                self.abandoned = true;
            }
            // Whoever listened is gone; the log goes on.
            Err(_) => {
                self.tee = false;
                self.pending = Vec::new();
            }
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// Reads on until there is nothing, or something that our own stream must take first.
    pub fn drain(&mut self, log: &mut Log) {
        self.ending = true;
        while self.fd.is_some() && self.pending.is_empty() {
            self.read(log);
        }
    }
}

/// The user's keys, from our standard input or another to the terminal.
#[derive(Default)]
pub struct Feed {
    from: Option<OwnedFd>,
    pending: Vec<u8>,
    ended: bool,
}

/// What a terminal takes as the end of input.
const END_OF_FILE: u8 = 4;

impl Feed {
    pub fn from(fd: OwnedFd) -> Feed {
        Feed {
            from: Some(fd),
            ..Feed::default()
        }
    }

    fn source(&self) -> BorrowedFd<'_> {
        self.from.as_ref().map_or(rustix::stdio::stdin(), AsFd::as_fd)
    }

    pub fn interest<'a>(&'a self, terminal: BorrowedFd<'a>) -> (BorrowedFd<'a>, PollFlags) {
        if self.pending.is_empty() {
            (self.source(), PollFlags::IN)
        } else {
            (terminal, PollFlags::OUT)
        }
    }

    /// False when there is nothing more to feed.
    pub fn advance(&mut self, terminal: BorrowedFd<'_>) -> bool {
        if self.pending.is_empty() {
            let mut buffer = [0u8; 1024];
            match rustix::io::read(self.source(), &mut buffer) {
                Ok(length) if length > 0 => self.pending.extend_from_slice(&buffer[..length]),
                Err(Errno::INTR | Errno::AGAIN) => {}
                _ => {
                    self.ended = true;
                    self.pending.push(END_OF_FILE);
                }
            }
            return true;
        }
        match rustix::io::write(terminal, &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return false,
        }
        !(self.ended && self.pending.is_empty())
    }
}
