//! `tripod-warden unpack`: turns a layer's tar stream into a directory that overlayfs takes as a lower one.
//!
//! The stream is hostile. So before its first byte is read the process has nothing left but the directory and a view of the layers
//! below, which it cannot write: a root of its own
//! (`confine`), the few capabilities that owners, modes and devices need, and the few system calls that files need
//! (`seccomp`). What could leave the directory, or fill the disk or memory, is refused by name (`name`, `reader`,
//! `layer`); the confinement holds even where such a check is wrong.

mod arguments;
mod confine;
mod layer;
mod lower;
mod name;
mod reader;
mod seccomp;
mod tree;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use arguments::Arguments;
use layer::Summary;
use serde_json::json;
use std::io::{BufReader, Write};
use std::process::ExitCode;

/// Reads of a pipe return at most what the pipe holds; a larger pipe means fewer of them.
const PIPE_BYTES: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// The subcommand. Writes one line of JSON to standard output: `{"ok":{"entries":N,"bytes":N}}`, with `"opaque":true` if the layer
/// hides everything below its root, or `{"error":{"code":…,"message":…}}`, and returns 0 or 1. After an error the directory is empty.
pub fn main(args: &[String]) -> ExitCode {
    let outcome = Arguments::parse(args).and_then(|arguments| run(&arguments));
    let (line, code) = match &outcome {
        Ok(summary) => (json!({ "ok": summary }), ExitCode::SUCCESS),
        Err(error) => (json!({ "error": error }), ExitCode::FAILURE),
    };
    // Nobody is left to tell that standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
    code
}

fn run(arguments: &Arguments) -> Result<Summary> {
    // SAFETY: nothing has been opened yet; what the caller left open is of no use here. close_range takes no pointers.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    // Standard input may be a file, which has no pipe to enlarge.
    let _ = rustix::pipe::fcntl_setpipe_size(rustix::stdio::stdin(), PIPE_BYTES);
    // Buffers are allocated before the memory limit counts against hostile data.
    let stdin = std::fs::File::from(
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|error| {
            Error::system("cannot read standard input", error).with_code("program-failed")
        })?,
    );
    let mut input = BufReader::with_capacity(BUFFER_BYTES, stdin);
    let (root, lowers) = confine::enter(arguments).map_err(|error| {
        if error.code == "step-failed" {
            error.with_code("program-failed")
        } else {
            error
        }
    })?;
    layer::unpack(&mut input, &root, &lowers, arguments.limits)
}
