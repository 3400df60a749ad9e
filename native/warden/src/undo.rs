//! `tripod-warden undo`: what `delete` does, for a sandbox whose warden is dead.

use crate::error::{Error, Result};
use crate::options::Options;
use crate::remove;
use crate::session::Session;
use crate::state_dir::StateDir;
use serde::Serialize;
use std::process::ExitCode;
use std::time::Duration;

/// A warden that was just killed, or one that is ending, lets go of its lock within this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Ok {},
    Error(Error),
}

/// Prints one line: `{"ok":{}}` or `{"error":…}`.
pub fn main(arguments: &[String]) -> ExitCode {
    let outcome = match Options::parse(arguments).and_then(|options| undo(&options)) {
        Ok(()) => Outcome::Ok {},
        Err(error) => Outcome::Error(error),
    };
    println!("{}", serde_json::to_string(&outcome).unwrap_or_default());
    ExitCode::from(u8::from(matches!(outcome, Outcome::Error(_))))
}

/// Undoes what the journal names and removes the state directory; one that is not there is no error.
pub fn undo(options: &Options) -> Result<()> {
    let dir = match StateDir::open(&options.dir) {
        // Somebody else has removed it: that is what was wanted.
        Err(error) if error.errno.as_deref() == Some("ENOENT") => return Ok(()),
        other => other?,
    };
    let lock = dir.lock(PATIENCE)?;
    let mut session = Session::open(dir, options.lib.clone())?;
    session.undo()?;
    remove::remove_state(&session.dir)?;
    drop(lock);
    Ok(())
}
