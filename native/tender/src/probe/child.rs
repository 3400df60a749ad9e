//! A trial in a child process, so that a KVM that never comes back costs its deadline and nothing more.

use super::{Steps, guest};
use crate::failure::{Failure, Result};
use crate::hvt::vm::Machine;
use kvm_ioctls::VcpuExit;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, Instant};

/// What the child writes: a byte for each step done, then one of these, the second followed by a text.
const DONE: u8 = 0xfe;
const FAILED: u8 = 0xff;
/// Bytes; more than any message.
const MAX_REPORT: usize = 4096;

/// Makes a machine in a child and runs it through `steps`. Why it did not do them all, led by the name of the step.
pub fn run(
    deadline: Duration,
    steps: Steps,
    make: impl FnOnce() -> Result<Machine>,
) -> std::result::Result<(), String> {
    let (mut read, write) = pipe().map_err(|error| format!("no pipe: {error}"))?;
    // SAFETY: this process has one thread, so the child may go on as if nothing had happened.
    match unsafe { libc::fork() } {
        0 => {
            drop(read);
            // SAFETY: asks to be killed when the parent ends; no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            report(write, steps, make);
            // SAFETY: does not return; nothing of the parent's is flushed twice.
            unsafe { libc::_exit(0) }
        }
        pid @ 1.. => {
            drop(write);
            let said = listen(&mut read, Instant::now() + deadline);
            // SAFETY: ends and reaps the child made above, which nobody else waits for.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
            judge(&said, steps, deadline)
        }
        _ => Err(format!(
            "no process: {}",
            crate::failure::reason(&io::Error::last_os_error())
        )),
    }
}

/// The child: says what it has done as it goes.
fn report(mut to: File, steps: Steps, make: impl FnOnce() -> Result<Machine>) {
    let mut tell = |bytes: &[u8]| to.write_all(bytes);
    let outcome = make().and_then(|machine| watch(machine, steps, |step| tell(&[step])));
    // A parent that is gone has no use for it.
    let _ = match outcome {
        Ok(()) => tell(&[DONE]),
        Err(Failure(why)) => tell(&[&[FAILED], why.as_bytes()].concat()),
    };
}

/// Runs the guest until it has done its last step.
fn watch(mut machine: Machine, steps: Steps, mut tell: impl FnMut(u8) -> io::Result<()>) -> Result<()> {
    let mut done = 0;
    while done < steps.len() {
        match machine.vcpu.run() {
            Ok(exit) => match guest::step(&exit) {
                Some(step) if usize::from(step) == done => {
                    done += 1;
                    tell(step).map_err(|error| Failure::system("no report", &error))?;
                }
                Some(_) => return Err(Failure::new("it did not come")),
                None => return Err(Failure::new(describe(&exit))),
            },
            Err(error) if error.errno() == libc::EINTR => {}
            Err(error) => {
                return Err(Failure::new(format!(
                    "running failed with errno {}",
                    error.errno()
                )));
            }
        }
    }
    Ok(())
}

fn describe(exit: &VcpuExit) -> String {
    match exit {
        VcpuExit::InternalError => "internal error of KVM".into(),
        VcpuExit::Shutdown => "the guest faulted".into(),
        VcpuExit::FailEntry(reason, _) => format!("the processor refused the guest, reason 0x{reason:x}"),
        other => format!("unexpected exit {other:?}"),
    }
}

/// All that the child says until it ends, or the deadline passes.
fn listen(from: &mut File, deadline: Instant) -> Vec<u8> {
    let mut said = Vec::new();
    let mut buffer = [0; 512];
    while said.len() < MAX_REPORT {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
        let mut polled = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, as the length says.
        match unsafe { libc::poll(&raw mut polled, 1, left) } {
            1 => match from.read(&mut buffer) {
                Ok(length @ 1..) => said.extend_from_slice(&buffer[..length]),
                _ => break,
            },
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    said
}

fn judge(said: &[u8], steps: Steps, deadline: Duration) -> std::result::Result<(), String> {
    let done = said.iter().position(|&byte| byte >= DONE).unwrap_or(said.len());
    let at = steps.get(done).unwrap_or(&"the end");
    match &said[done..] {
        [DONE] => Ok(()),
        [FAILED, why @ ..] => Err(format!("{at}: {}", String::from_utf8_lossy(why))),
        _ => Err(format!("{at}: nothing happened for {} s", deadline.as_secs())),
    }
}

fn pipe() -> io::Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, which then are ours alone.
    unsafe {
        match libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) {
            0 => Ok((File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1]))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
