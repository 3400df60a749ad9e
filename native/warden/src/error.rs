//! The one error of the warden: what a step, a request or a subcommand could not do, in the shape of the brain
//! protocol's `WardenError` (`src/spec/protocol.ts`).

use serde::Serialize;
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// A failure that is told to the brain. `message` is a sentence: what failed, on which subject, why.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Error {
    /// `step-failed`, `bad-request`, `not-allowed`, `exec-failed`, `gone`; `unpack` has codes of its own.
    pub code: &'static str,
    pub message: String,
    /// For `step-failed`: the step's kind and its place in the plan; filled in by the executor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The system's error name, e.g. `ENOENT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<String>,
}

impl Error {
    /// An error with a code of its own and no system error behind it.
    pub fn new(code: &'static str, message: impl Into<String>) -> Error {
        Error {
            code,
            message: message.into(),
            step: None,
            index: None,
            errno: None,
        }
    }

    /// A step could not be carried out. The executor adds which.
    pub fn step(message: impl Into<String>) -> Error {
        Error::new("step-failed", message)
    }

    /// A request or a plan that does not follow the protocol.
    pub fn bad_request(message: impl Into<String>) -> Error {
        Error::new("bad-request", message)
    }

    /// A verb that the present status does not allow.
    pub fn not_allowed(message: impl Into<String>) -> Error {
        Error::new("not-allowed", message)
    }

    /// A system call failed: `what` says what was tried on which subject, e.g. `cannot open /dev/kvm`.
    pub fn system(what: impl fmt::Display, error: impl Into<std::io::Error>) -> Error {
        let error: std::io::Error = error.into();
        let Some(number) = error.raw_os_error() else {
            return Error::step(format!("{what}: {error}"));
        };
        let name = errno_name(number);
        Error {
            errno: Some(name.clone()),
            ..Error::step(format!("{what}: {} ({name})", describe(&error)))
        }
    }

    /// The same error under another code.
    pub fn with_code(self, code: &'static str) -> Error {
        Error { code, ..self }
    }

    /// Says which step of the plan failed, unless the error already knows.
    pub fn at(self, step: &'static str, index: usize) -> Error {
        Error {
            step: self.step.or(Some(step)),
            index: self.index.or(Some(index)),
            ..self
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Adds the subject to a failed system call: `call().or_system(|| format!("cannot open {path}"))?`.
pub trait Context<T> {
    fn or_system<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Context<T> for std::result::Result<T, E> {
    fn or_system<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| Error::system(what(), error))
    }
}

/// The system's sentence without Rust's `(os error N)`.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or("unknown error")
        .to_lowercase()
}

/// The name of an errno, e.g. `ENOENT`; `errno N` for one that no step meets.
pub fn errno_name(number: i32) -> String {
    macro_rules! names {
        ($($name:ident)*) => {
            match number {
                $(libc::$name => stringify!($name).to_string(),)*
                _ => format!("errno {number}"),
            }
        };
    }
    names!(EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
        EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE
        EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA EOVERFLOW EILSEQ EUSERS ENOTSOCK
        EMSGSIZE EPROTO EPROTONOSUPPORT EOPNOTSUPP EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
        ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH EALREADY EINPROGRESS
        ESTALE EDQUOT ENOKEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_names_subject_reason_and_errno() {
        let error = Error::system("cannot open /nope", rustix::io::Errno::NOENT).at("open", 3);
        assert_eq!(error.errno.as_deref(), Some("ENOENT"));
        assert!(
            error.message.starts_with("cannot open /nope: no such file"),
            "{}",
            error.message
        );
        assert!(!error.message.contains("os error"));
        assert_eq!((error.step, error.index), (Some("open"), Some(3)));
    }

    #[test]
    fn the_innermost_step_is_kept() {
        let error = Error::step("x").at("bind", 1).at("spawn", 2);
        assert_eq!((error.step, error.index), (Some("bind"), Some(1)));
    }
}
