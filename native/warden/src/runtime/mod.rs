//! `tripod-runtime`: the OCI runtime command line that docker, podman, CRI-O and the runc shim call, with runc's verbs, flags and texts. What needs no
//! decision is done here; `create` asks the brain, rare verbs of a sandbox of ours are TypeScript's, and a container is handed to its runtime with
//! the caller's own arguments.

mod arguments;
mod brain;
mod control;
mod create;
mod delegate;
mod log;
mod processes;
mod store;
mod table;
mod verbs;

pub use brain::node;

use crate::error::Error;
use arguments::Invocation;
use log::Log;
use std::process::ExitCode;

/// Why a verb failed, and the exit status that says so.
pub struct Failure {
    pub message: String,
    status: u8,
}

impl Failure {
    fn new(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            status: 1,
        }
    }

    fn with_status(self, status: u8) -> Failure {
        Failure { status, ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(error.message)
    }
}

/// A verb's outcome: its exit status.
type Outcome = std::result::Result<u8, Failure>;

/// Entry point.
pub fn main(arguments: &[String]) -> ExitCode {
    let (outcome, log) = match Invocation::parse(arguments) {
        Ok(invocation) => {
            let log = Log::open(&invocation);
            (run(&invocation, &log), log)
        }
        Err(failure) => (Err(failure), Log::without_file()),
    };
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            log.error(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}

fn run(invocation: &Invocation, log: &Log) -> Outcome {
    if invocation.asks_for_help() {
        return brain::answer(invocation);
    }
    match invocation.verb.as_str() {
        "create" => create::create(invocation),
        "run" => create::run(invocation, log),
        "start" => verbs::start(invocation),
        "state" => verbs::state(invocation),
        "kill" => verbs::kill(invocation),
        "delete" => verbs::delete(invocation),
        "list" => verbs::list(invocation),
        "ps" => verbs::ps(invocation),
        "exec" => verbs::exec(invocation),
        "pause" => verbs::freeze(invocation, "pause"),
        "resume" => verbs::freeze(invocation, "resume"),
        "checkpoint" | "restore" => verbs::checkpoint(invocation),
        "update" | "events" => verbs::by_brain(invocation),
        // They are about the runtime and not about one sandbox.
        "spec" | "features" | "help" | "version" => brain::answer(invocation),
        other => Err(Failure::new(format!(
            "no command is called {other:?}: tripod-runtime --help lists them"
        ))),
    }
}
