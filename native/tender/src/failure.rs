//! The tender's only kind of failure: a sentence on stderr and exit status 1, as Solo5's tenders fail.

use std::fmt;
use std::io;

pub type Result<T> = std::result::Result<T, Failure>;

/// A sentence that names the subject and the reason; printed as `PROG: sentence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub String);

impl Failure {
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// `what: reason`, with the reason of the system error without Rust's `(os error N)`.
    pub fn system(what: impl fmt::Display, error: &io::Error) -> Failure {
        Failure(format!("{what}: {}", reason(error)))
    }

    /// [`Failure::system`] with the calling thread's errno.
    pub fn last(what: impl fmt::Display) -> Failure {
        Failure::system(what, &io::Error::last_os_error())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// The system's own sentence, e.g. `No such file or directory`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((sentence, _)) => sentence.to_string(),
        None => text,
    }
}
