//! `probe-kvm`: what a guest does under this machine's KVM, seen by running one. A device that opens proves nothing:
//! there are implementations in software that run small guests and never bring a Linux to its first line.
//!
//! Two tiny guests, each in a process of its own with a deadline. The first runs and stops, which is all that a small
//! unikernel needs: `tiny`. The second does what every Linux guest does early and such implementations lack: `linux`.

mod child;
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod guest;

use crate::cli::kvm_fd;
use crate::failure::{Failure, Result};
use crate::hvt::vm;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::RawFd;
use std::time::Duration;

/// A working KVM takes a few milliseconds for either guest.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a guest does, in order, each named as in a sentence.
type Steps = &'static [&'static str];

/// Prints `{"kvm":"none|tiny|linux","evidence":"<one sentence>"}`. Fails only for an option that is not `--kvm=@FD`.
pub fn main(args: &[OsString]) -> Result<()> {
    let mut kvm = None;
    for arg in args {
        match arg.to_str().and_then(|arg| arg.strip_prefix("--kvm=")) {
            Some(value) => kvm = Some(kvm_fd(value)?),
            None => {
                return Err(Failure::new(format!(
                    "Invalid option: `{}'",
                    arg.to_string_lossy()
                )));
            }
        }
    }
    let (can, evidence) = probe(kvm);
    let line = format!("{{\"kvm\":\"{can}\",\"evidence\":\"{}\"}}\n", escape(&evidence));
    std::io::stdout()
        .write_all(line.as_bytes())
        .map_err(|error| Failure::system("Could not write the answer", &error))
}

fn probe(kvm: Option<RawFd>) -> (&'static str, String) {
    // In this process, since without a device there is nothing to wait for.
    let kvm = match vm::open(kvm) {
        Ok(kvm) => kvm,
        Err(failure) => return ("none", format!("{failure}.")),
    };
    if let Err(why) = child::run(DEADLINE, guest::TINY, || guest::tiny(&kvm)) {
        return (
            "none",
            format!("/dev/kvm opens, but a tiny guest does not run: {why}."),
        );
    }
    match child::run(DEADLINE, guest::LINUX, || guest::linux(&kvm)) {
        Ok(()) => (
            "linux",
            format!(
                "Guests run, with all that a Linux guest asks for early: {}.",
                guest::LINUX.join(", ")
            ),
        ),
        Err(why) => (
            "tiny",
            format!("A tiny guest runs, but not what a Linux guest asks for early: {why}."),
        ),
    }
}

/// The inside of a JSON string.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            control if control < ' ' => escaped.push_str(&format!("\\u{:04x}", control as u32)),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn the_answer_is_json_whatever_the_reason_says() {
        assert_eq!(escape("a \"b\" \\ \n"), "a \\\"b\\\" \\\\ \\u000a");
    }
}
