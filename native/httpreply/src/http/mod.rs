//! The HTTP/1.1 core (RFC 9110, RFC 9112): bytes of a connection in, bytes of answers out. No allocation, no I/O, no
//! clock; every buffer is bounded, and what does not fit is answered with the status that says so.

mod head;
mod reply;

pub use head::{BODY_LIMIT, Head, Method, Status, parse};
pub use reply::{REPLY_LIMIT, Reply};

use crate::page::About;

/// Most bytes of a request's line and fields, line ends included. A longer head is answered with 431.
pub const HEAD_LIMIT: usize = 4096;

/// One connection's state between two reads.
pub struct Connection {
    head: [u8; HEAD_LIMIT],
    length: usize,
    line_start: usize,
    body_left: u64,
    closing: bool,
}

/// What one [`Connection::step`] did.
pub struct Step {
    /// Bytes of the input that are dealt with. Less than all of them only when an answer was made: send it, then step
    /// again with the rest.
    pub consumed: usize,
    /// The answer, if the input completed a request.
    pub reply: Option<Reply>,
    /// Whether the connection ends once the answer is sent. What still arrives is swallowed.
    pub close: bool,
}

impl Connection {
    /// A connection on which nothing was received yet.
    pub const fn new() -> Self {
        Self {
            head: [0; HEAD_LIMIT],
            length: 0,
            line_start: 0,
            body_left: 0,
            closing: false,
        }
    }

    /// Forgets everything, for the next peer.
    pub fn reset(&mut self) {
        self.length = 0;
        self.line_start = 0;
        self.body_left = 0;
        self.closing = false;
    }

    /// Whether a request has begun to arrive and is not complete.
    pub fn is_mid_request(&self) -> bool {
        self.length > 0 || self.body_left > 0
    }

    /// Takes received bytes up to the end of at most one request's head, and answers it. Pipelined requests are answered
    /// in turn, one a step. A request's body is skipped.
    pub fn step(&mut self, input: &[u8], about: &About<'_>, uptime_ms: u64) -> Step {
        if self.closing {
            return Step {
                consumed: input.len(),
                reply: None,
                close: true,
            };
        }
        let skipped = usize::try_from(self.body_left).map_or(input.len(), |left| left.min(input.len()));
        self.body_left -= skipped as u64;
        for (at, &byte) in input.iter().enumerate().skip(skipped) {
            if self.length == HEAD_LIMIT {
                return self.refuse(at, Status::HeadTooLarge);
            }
            self.head[self.length] = byte;
            self.length += 1;
            if byte != b'\n' {
                continue;
            }
            let line = &self.head[self.line_start..self.length];
            let is_blank = line == b"\n" || line == b"\r\n";
            if !is_blank {
                self.line_start = self.length;
            } else if self.line_start == 0 {
                // Empty lines before a request are skipped (RFC 9112, 2.2).
                self.length = 0;
            } else {
                return self.answer(at + 1, about, uptime_ms);
            }
        }
        Step {
            consumed: input.len(),
            reply: None,
            close: false,
        }
    }

    fn answer(&mut self, consumed: usize, about: &About<'_>, uptime_ms: u64) -> Step {
        let (reply, keep_alive, body) = match parse(&self.head[..self.length]) {
            Err(status) => return self.refuse(consumed, status),
            Ok(head) => (Reply::to(&head, about, uptime_ms), head.keep_alive, head.body),
        };
        self.length = 0;
        self.line_start = 0;
        self.body_left = body;
        self.closing = !keep_alive;
        Step {
            consumed,
            reply: Some(reply),
            close: self.closing,
        }
    }

    fn refuse(&mut self, consumed: usize, status: Status) -> Step {
        self.closing = true;
        Step {
            consumed,
            reply: Some(Reply::refusal(status)),
            close: true,
        }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
