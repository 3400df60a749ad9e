//! One question to a living warden, by the control socket in its state directory.

use super::Failure;
use crate::error::Context;
use crate::process::wait_readable;
use crate::state_dir::{StateDir, write_all};
use rustix::net::SocketFlags;
use serde_json::Value;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A warden answers in milliseconds; hooks and a monitor's start have deadlines of their own.
const PATIENCE: Duration = Duration::from_secs(120);
const MAX_ANSWER: usize = 1 << 20;

pub fn connect(dir: &StateDir) -> Result<OwnedFd, Failure> {
    let what = || format!("the warden of {} cannot be reached", dir.id());
    Ok(crate::unix_socket::connect_in(dir.fd(), "control.sock", SocketFlags::empty()).or_system(what)?)
}

/// Asks and returns the answer's `ok`. An error of the warden's is returned in its words.
pub fn ask(dir: &StateDir, mut request: Value) -> Result<Value, Failure> {
    let what = || format!("the warden of {} cannot be reached", dir.id());
    let socket = connect(dir)?;
    request["id"] = 1.into();
    let mut line = request.to_string();
    line.push('\n');
    write_all(socket.as_fd(), line.as_bytes()).or_system(what)?;
    let end = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    while !answer.ends_with(b"\n") {
        if answer.len() > MAX_ANSWER
            || !wait_readable(socket.as_fd(), end.saturating_duration_since(Instant::now()))
        {
            return Err(Failure::new(format!("{}: it does not answer", what())));
        }
        match rustix::io::read(&socket, &mut buffer).or_system(what)? {
            0 => return Err(Failure::new(format!("{}: it ended", what()))),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    let answer: Value =
        serde_json::from_slice(&answer).map_err(|error| Failure::new(format!("{}: {error}", what())))?;
    match answer.get("error") {
        Some(error) => Err(Failure::new(
            error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("the warden failed"),
        )),
        None => Ok(answer.get("ok").cloned().unwrap_or_default()),
    }
}
