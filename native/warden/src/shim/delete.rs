//! `delete`: after a task's end, and after a warden that died. Everything of the task is taken away, whoever made it, and its end is told.

use super::Places;
use super::arguments::Invocation;
use super::proto;
use crate::options::Options;
use crate::protocol::StateFile;
use crate::{process, undo};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is told of a task whose end nobody saw, as by runc's shim: killed.
const KILLED: u32 = 137;
/// Until a warden that was told to end has ended.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn delete(invocation: &Invocation) -> Result<(), String> {
    let places = Places::find();
    let state = state_of(&places.task(invocation));
    clear(&places, invocation)?;
    let (pid, status) = state.map_or((0, KILLED), |state| {
        let status = state.exit.map_or(KILLED, |exit| exit.exit_code.into());
        (state.pid.max(0) as u32, status)
    });
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    proto::print(&proto::delete_response(pid, status, now))
}

fn state_of(dir: &Path) -> Option<StateFile> {
    serde_json::from_slice(&std::fs::read(dir.join("state.json")).ok()?).ok()
}

/// Ends a warden that lives, and undoes what is left. Nothing there is no error.
pub fn clear(places: &Places, invocation: &Invocation) -> Result<(), String> {
    let dir = places.task(invocation);
    if let Some(state) = state_of(&dir)
        && let Ok(warden) = process::Process::open(state.warden.pid)
        && warden.name == state.warden
    {
        let _ = warden.signal(libc::SIGKILL as u8);
        process::wait_readable(warden.fd(), PATIENCE);
    }
    let options = Options {
        dir: dir.clone(),
        lib: places.lib.clone(),
        console: false,
    };
    undo::undo(&options).map_err(|error| format!("{}: {error}", dir.display()))?;
    let _ = std::fs::remove_file(places.socket(invocation));
    Ok(())
}
