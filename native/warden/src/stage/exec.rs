//! The last steps before the program: hide and freeze paths, pivot, place descriptors, become the user, and at `go` the
//! seccomp filter and exec.

use super::credentials;
use super::root::PrivateRoot;
use crate::error::{Context, Error, Result};
use crate::plan::Spawn;
use crate::sys;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// Everything that exec needs, made while memory may still be taken.
pub struct Ready {
    program: OwnedFd,
    path: String,
    argv: Vec<CString>,
    env: Vec<CString>,
    seccomp: Option<Vec<u8>>,
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>> {
    strings
        .iter()
        .map(|text| CString::new(text.as_str()).map_err(|_| Error::step(format!("{text:?} holds a NUL"))))
        .collect()
}

/// `fds`: the program, stdin, stdout, stderr, then one for each grant.
pub fn prepare(spawn: &Spawn, root: PrivateRoot, fds: Vec<OwnedFd>) -> Result<Ready> {
    if fds.len() != 4 + spawn.fds.len() {
        return Err(Error::step("the stage got the wrong number of descriptors"));
    }
    let (argv, env) = (c_strings(&spawn.argv)?, c_strings(&spawn.env)?);
    for at in &spawn.readonly_paths {
        root.make_readonly(at)?;
    }
    for at in &spawn.masked_paths {
        root.mask(at)?;
    }
    root.own_nodes(spawn.credentials.uid, spawn.credentials.gid)?;
    root.enter()?;
    rustix::process::setsid().or_system(|| "cannot start a session")?;
    let program = place(spawn, fds)?;
    credentials::limit(&spawn.rlimits)?;
    credentials::become_user(&spawn.credentials)?;
    let seccomp = spawn.seccomp.as_ref().map(|filter| filter.0.clone());
    Ok(Ready {
        program,
        path: spawn.program.to_string(),
        argv,
        env,
        seccomp,
    })
}

/// Puts every descriptor at its number and marks all others to be closed at exec. Returns the program's.
fn place(spawn: &Spawn, fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let wanted: Vec<i32> = (0..3).chain(spawn.fds.iter().map(|grant| grant.at)).collect();
    // First out of the way of every wanted number, so that no copy overwrites another that is still to be made.
    let above = wanted.iter().max().map_or(3, |highest| highest + 1);
    let mut moved = Vec::new();
    for fd in &fds {
        moved.push(
            rustix::io::fcntl_dupfd_cloexec(fd, above)
                .or_system(|| format!("cannot give the program descriptor {}", above - 1))?,
        );
    }
    sys::close_on_exec_from(3).or_system(|| "cannot mark descriptors")?;
    // The originals may sit at wanted numbers, which now belong to the copies: they are forgotten, not closed.
    fds.into_iter().for_each(std::mem::forget);
    for (fd, number) in moved.iter().skip(1).zip(&wanted) {
        sys::place_fd(fd.as_fd(), *number)
            .or_system(|| format!("cannot give the program descriptor {number}"))?;
    }
    if spawn.stdio.terminal {
        sys::make_controlling_terminal(moved[1].as_fd()).or_system(|| "cannot take the terminal")?;
    }
    let mut moved = moved.into_iter();
    let program = moved
        .next()
        .ok_or_else(|| Error::step("the stage got no program"))?;
    Ok(program)
}

impl Ready {
    /// Becomes the program; returns why it could not.
    pub fn exec(self) -> Error {
        sys::ignore_sigpipe(false);
        sys::unblock_signals();
        // Last, so that the filter need not allow anything of ours but execveat itself.
        if let Some(filter) = &self.seccomp
            && let Err(error) = sys::seccomp(filter)
        {
            return Error::system("cannot install the seccomp filter", error);
        }
        let error = sys::execveat(self.program.as_fd(), &self.argv, &self.env);
        Error::system(format!("cannot execute {}", self.path), error)
    }
}
