//! Writing of answers.

use core::fmt::{self, Write};

use super::head::{Head, Method, Status};
use crate::page::{About, Page};

/// Most bytes of one answer, head and body. A test holds the longest one against it.
pub const REPLY_LIMIT: usize = 512;

/// Most bytes of one body.
const BODY_LIMIT: usize = 256;

/// One whole answer, ready to send.
pub struct Reply {
    bytes: Text<REPLY_LIMIT>,
}

impl Reply {
    /// The answer to a well-formed request.
    pub(super) fn to(head: &Head<'_>, about: &About<'_>, uptime_ms: u64) -> Self {
        let with_body = head.method != Method::Head;
        if head.method == Method::Other {
            return Self::error(Status::MethodNotAllowed, head.keep_alive, with_body);
        }
        let Some(page) = Page::at(head.path) else {
            return Self::error(Status::NotFound, head.keep_alive, with_body);
        };
        let as_json = head.accepts_json && page.has_json();
        let mut body = Text::<BODY_LIMIT>::new();
        // Writing fails only when it does not fit, which About's limits exclude.
        let _ = page.write(&mut body, about, uptime_ms, as_json);
        let kind = if as_json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        Self::write(Status::Ok, kind, body.as_bytes(), head.keep_alive, with_body)
    }

    /// The answer to what could not be understood or is too much. The connection ends with it.
    pub(super) fn refusal(status: Status) -> Self {
        Self::error(status, false, true)
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    fn error(status: Status, keep_alive: bool, with_body: bool) -> Self {
        let mut body = Text::<BODY_LIMIT>::new();
        let _ = writeln!(body, "{}", status.text());
        Self::write(
            status,
            "text/plain; charset=utf-8",
            body.as_bytes(),
            keep_alive,
            with_body,
        )
    }

    fn write(status: Status, kind: &str, body: &[u8], keep_alive: bool, with_body: bool) -> Self {
        let mut bytes = Text::new();
        let allow = if status == Status::MethodNotAllowed {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        // HTTP/1.0 keeps a connection only where the answer says so; 1.1 does not mind hearing it.
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let vary = if status == Status::Ok {
            "Vary: Accept\r\n"
        } else {
            ""
        };
        let _ = write!(
            bytes,
            "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{vary}{allow}Connection: {connection}\r\n\r\n",
            status.text(),
            body.len(),
        );
        if with_body {
            bytes.append(body);
        }
        Self { bytes }
    }
}

/// Text in a buffer of fixed size. What does not fit is an error to [`Write`] and cut off by `append`.
struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    const fn new() -> Self {
        Self {
            bytes: [0; SIZE],
            length: 0,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn append(&mut self, more: &[u8]) -> bool {
        let fits = more.len().min(SIZE - self.length);
        self.bytes[self.length..self.length + fits].copy_from_slice(&more[..fits]);
        self.length += fits;
        fits == more.len()
    }
}

impl<const SIZE: usize> Write for Text<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.append(text.as_bytes()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
