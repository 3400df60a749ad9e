//! `containerd-shim-tripod-v2`: what containerd runs at a task's beginning and end (containerd, core/runtime/v2/README.md). `start` makes the task's socket and
//! the warden behind it; `delete` clears up what a warden left. It decides nothing.

mod arguments;
pub mod daemon;
mod delete;
mod proto;
mod start;

pub use proto::refusal;

use arguments::{Action, Invocation};
use std::path::PathBuf;
use std::process::ExitCode;

/// Entry point. Nothing but the answer is written in a start that succeeds: containerd reads both streams as one.
pub fn main(arguments: &[String]) -> ExitCode {
    let outcome = Invocation::parse(arguments).and_then(|invocation| match invocation.action {
        Action::Version => {
            println!("containerd-shim-tripod-v2 {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Action::Info => proto::print(&proto::runtime_info()),
        Action::Start => start::start(&invocation),
        Action::Delete => delete::delete(&invocation),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("containerd-shim-tripod-v2: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Where the state of all tasks lies, and the rest that a warden is told.
pub struct Places {
    /// Sockets and state: gone after a boot.
    pub run: PathBuf,
    pub lib: PathBuf,
}

impl Places {
    /// `TRIPOD_ROOT` moves both, as everywhere.
    pub fn find() -> Places {
        match std::env::var_os("TRIPOD_ROOT").map(PathBuf::from) {
            Some(root) if root.is_absolute() => Places {
                run: root.join("run"),
                lib: root.join("lib"),
            },
            _ => Places {
                run: PathBuf::from("/run/tripod"),
                lib: PathBuf::from("/var/lib/tripod"),
            },
        }
    }

    /// The state directory of a task.
    pub fn task(&self, invocation: &Invocation) -> PathBuf {
        self.run
            .join("tasks")
            .join(&invocation.namespace)
            .join(&invocation.id)
    }

    /// The task's socket: containerd and the kernel take an address of at most 106 bytes, so that the name is a hash of what it is for.
    pub fn socket(&self, invocation: &Invocation) -> PathBuf {
        let text = format!(
            "{}\0{}\0{}",
            invocation.address, invocation.namespace, invocation.id
        );
        let name = format!(
            "{:016x}{:016x}",
            fnv1a(text.as_bytes(), 0xcbf2_9ce4_8422_2325),
            fnv1a(text.as_bytes(), 0x6c62_272e_07bb_0142)
        );
        self.run.join("s").join(name)
    }
}

/// The 64-bit FNV-1a hash from a basis.
fn fnv1a(bytes: &[u8], basis: u64) -> u64 {
    bytes.iter().fold(basis, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
