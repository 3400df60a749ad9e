//! Containers: another runtime is executed in our place, with the caller's own arguments, streams and environment.

use super::arguments::Invocation;
use super::{Failure, Outcome};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a runtime is looked for when PATH does not have it: engines call with short ones.
const USUAL: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(USUAL.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_absolute() && program.is_file())
}

/// The command that the caller would have given to `program`.
pub fn command(program: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Becomes the other runtime; returns only when that fails.
pub fn become_runtime(program: &Path, arguments: &[String]) -> Outcome {
    // Rust ignores SIGPIPE, and what is ignored stays so across an exec.
    crate::sys::ignore_sigpipe(false);
    crate::sys::unblock_signals();
    let error = command(program, arguments).exec();
    Err(Failure::new(format!(
        "{} cannot be executed: {error}",
        program.display()
    )))
}

pub fn hand_over(program: &Path, invocation: &Invocation) -> Outcome {
    become_runtime(program, &invocation.for_others)
}
