//! The hands of Tripod: one static program with several entry points, chosen by its own name or by its first argument.
//! README.md says what it is.

mod cgroup;
mod clock;
mod error;
mod journal;
mod net;
mod options;
mod path;
mod plan;
mod process;
mod protocol;
mod remove;
mod run;
mod runtime;
mod serve;
mod session;
mod shim;
mod stage;
mod state_dir;
mod stdio;
mod step;
mod sys;
mod undo;
mod unix_socket;
mod unpack;
#[cfg(test)]
mod vectors;

use std::path::Path;
use std::process::ExitCode;

type Entry = fn(&[String]) -> ExitCode;

/// Subcommands of `tripod-warden`.
const COMMANDS: [(&str, Entry); 4] = [
    ("serve", serve::main),
    ("task", serve::task_main),
    ("undo", undo::main),
    ("unpack", unpack::main),
];

/// Other names that the program goes by (links to it): each is an entry point of its own.
const NAMES: [(&str, Entry); 2] = [
    ("tripod-runtime", runtime::main),
    ("containerd-shim-tripod-v2", shim::main),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|text| text.to_string_lossy().into_owned())
        .collect();
    let name = arguments
        .first()
        .and_then(|path| Path::new(path).file_name())
        .unwrap_or_default();
    if let Some((_, entry)) = NAMES.iter().find(|(own, _)| name == *own) {
        return entry(arguments.get(1..).unwrap_or_default());
    }
    let command = arguments.get(1).map(String::as_str).unwrap_or_default();
    match COMMANDS.iter().find(|(own, _)| *own == command) {
        Some((_, entry)) => entry(&arguments[2..]),
        None => {
            let known: Vec<&str> = COMMANDS.iter().map(|(own, _)| *own).collect();
            eprintln!("usage: tripod-warden {} …", known.join("|"));
            ExitCode::from(125)
        }
    }
}
