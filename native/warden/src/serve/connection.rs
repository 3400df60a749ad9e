//! One connection of a client: lines in, lines out, neither of them without end, and nobody waits for a client that does not read.

use crate::error::Error;
use crate::protocol::{Answer, AnswerLine, MAX_LINE_BYTES};
use rustix::event::PollFlags;
use rustix::io::Errno;
use serde::Serialize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of answers that a client may leave unread.
const MAX_UNREAD: usize = 8 << 20;

pub struct Connection {
    fd: OwnedFd,
    pub number: u64,
    pub is_owner: bool,
    input: Vec<u8>,
    output: Vec<u8>,
    open: bool,
}

impl Connection {
    pub fn new(fd: OwnedFd, number: u64, is_owner: bool) -> Connection {
        let open = rustix::io::ioctl_fionbio(&fd, true).is_ok();
        Connection {
            fd,
            number,
            is_owner,
            input: Vec::new(),
            output: Vec::new(),
            open,
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn interest(&self) -> PollFlags {
        if self.output.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    /// Reads what is there and returns the lines that are whole now.
    pub fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut buffer = [0u8; 4 << 10];
        while self.open {
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => self.open = false,
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    // Only what is new can hold a line's end.
                    let fresh = self.input.len() - length;
                    if self.input[fresh..].contains(&b'\n') {
                        lines.append(&mut self.take_lines());
                    } else if self.input.len() > MAX_LINE_BYTES {
                        self.refuse();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.open = false,
            }
        }
        lines
    }

    fn take_lines(&mut self) -> Vec<Vec<u8>> {
        let end = self
            .input
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let rest = self.input.split_off(end);
        let whole = std::mem::replace(&mut self.input, rest);
        whole
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    fn refuse(&mut self) {
        self.input = Vec::new();
        let error = Error::bad_request(format!("a line is longer than {MAX_LINE_BYTES} bytes"));
        self.answer(0, &Err(error));
        self.open = false;
    }

    pub fn answer(&mut self, id: u64, result: &Result<Answer, Error>) {
        match result {
            Ok(ok) => self.send(&AnswerLine::Ok { id, ok }),
            Err(error) => self.send(&AnswerLine::Error { id, error }),
        }
    }

    pub fn send(&mut self, value: &impl Serialize) {
        // Our own types always serialise.
        if let Ok(line) = serde_json::to_vec(value) {
            self.forward(&line);
        }
    }

    /// Sends a line as it is.
    pub fn forward(&mut self, line: &[u8]) {
        if !self.open {
            return;
        }
        self.output.extend_from_slice(line);
        self.output.push(b'\n');
        self.flush();
        if self.output.len() > MAX_UNREAD {
            self.open = false;
        }
    }

    pub fn flush(&mut self) {
        while !self.output.is_empty() {
            match rustix::net::send(&self.fd, &self.output, rustix::net::SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.open = false;
                    break;
                }
            }
        }
        self.output = Vec::new();
    }
}
