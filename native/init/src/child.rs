//! The program: started in a session of its own with the console as its terminal, told what the machine is told, and
//! waited for. Everything else that ends is reaped on the way; what the program leaves behind is ended after it.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::time::Duration;
use core::{mem, ptr};

use crate::console::say;
use crate::system::{self, Errno, now, timespec};

pub struct Program {
    /// Not empty.
    pub words: Vec<CString>,
    pub environment: Vec<CString>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub directory: Option<CString>,
}

const NOT_SET_UP: i32 = 125;
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;
/// Where a program is looked for without a `PATH`: Docker's default.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long what the program leaves behind may take to end when asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long it may take when it is not asked.
const LAST_GRACE: Duration = Duration::from_secs(1);
const FORWARDED: [i32; 5] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Runs the program to its end and returns its status; 128 and the signal's number if one ended it.
///
/// # Errors
/// A sentence, when there can be no process.
pub fn run(program: &Program) -> Result<u8, String> {
    let awaited = signals(&[&FORWARDED[..], &[libc::SIGCHLD]].concat());
    // SAFETY: a signal set of ours; this is the only thread. With the key combination off, which is how some monitors ask
    // a guest to end, the kernel sends SIGINT to process 1 instead of restarting at once.
    let child = unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &raw const awaited, ptr::null_mut());
        libc::reboot(libc::RB_DISABLE_CAD);
        libc::fork()
    };
    match child {
        0 => become_program(program),
        1.. => {
            let status = wait_for(child, &awaited);
            end_the_rest(&awaited);
            Ok(status)
        }
        _ => Err(format!("cannot start a process: {}", Errno::last())),
    }
}

fn wait_for(child: libc::pid_t, awaited: &libc::sigset_t) -> u8 {
    loop {
        while let Some((pid, status)) = reap() {
            if pid == child {
                return status;
            }
        }
        let Some(info) = next_signal(awaited, None) else {
            continue;
        };
        if FORWARDED.contains(&info.si_signo) {
            let is_kernels = info.si_code == libc::SI_KERNEL;
            // The key combination: the machine is to end.
            let signal = if is_kernels { libc::SIGTERM } else { info.si_signo };
            // SAFETY: the child was not waited for yet, so that the number is its own.
            unsafe { libc::kill(child, signal) };
        }
    }
}

/// Asks what is left to end, and then makes it.
fn end_the_rest(awaited: &libc::sigset_t) {
    for (signal, grace) in [(libc::SIGTERM, GRACE), (libc::SIGKILL, LAST_GRACE)] {
        while reap().is_some() {}
        if !has_children() {
            return;
        }
        // SAFETY: this is process 1: what the call reaches is all the guest's other processes.
        unsafe { libc::kill(-1, signal) };
        let deadline = now() + grace;
        loop {
            while reap().is_some() {}
            if !has_children() {
                return;
            }
            let left = deadline.saturating_sub(now());
            if left.is_zero() {
                break;
            }
            // Woken early by the end of a child; others' children are looked at now and then.
            next_signal(awaited, Some(left.min(Duration::from_millis(50))));
        }
    }
}

/// A process that has ended and its status, if there is one.
fn reap() -> Option<(libc::pid_t, u8)> {
    let mut status = 0;
    // SAFETY: the kernel writes the status.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let code = if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    };
    (pid > 0).then_some((pid, code as u8))
}

/// Whether there is any other process of the guest's: whoever loses its parent becomes a child of process 1. (A signal to all would find the kernel's own
/// threads, which never end.)
fn has_children() -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: plain data, which the kernel fills in.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0
    }
}

fn next_signal(awaited: &libc::sigset_t, timeout: Option<Duration>) -> Option<libc::siginfo_t> {
    let timeout = timeout.map(timespec);
    let limit = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: plain data, which the kernel fills in.
    let (signal, info) = unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        (libc::sigtimedwait(awaited, &raw mut info, limit), info)
    };
    (signal > 0).then_some(info)
}

fn signals(numbers: &[i32]) -> libc::sigset_t {
    // SAFETY: plain data, emptied before it is used; the numbers are signals.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &number in numbers {
            libc::sigaddset(&raw mut set, number);
        }
        set
    }
}

/// Never returns: the process becomes the program or ends with a status that says why not.
fn become_program(program: &Program) -> ! {
    let status = match prepare(program) {
        Err(why) => {
            say(format_args!("{why}"));
            NOT_SET_UP
        }
        Ok(()) => {
            let name = program.words[0].to_bytes();
            let (status, why) = execute(program);
            say(format_args!("cannot run {}: {why}", name.escape_ascii()));
            status
        }
    };
    // SAFETY: ends this process.
    unsafe { libc::_exit(status) }
}

fn prepare(program: &Program) -> Result<(), String> {
    let none = signals(&[]);
    // SAFETY: system calls on numbers and on strings that live through them.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        libc::setsid();
        // Not every console is a terminal.
        libc::ioctl(0, libc::TIOCSCTTY as _, 1);
        let (uid, gid) = (program.uid.unwrap_or(0), program.gid.unwrap_or(0));
        // Else the program could not open /dev/stdout.
        for number in 0..3 {
            libc::fchown(number, uid, gid);
        }
        check(libc::setgroups(0, ptr::null()), || "drop all groups".into())?;
        check(libc::setgid(gid), || format!("become group {gid}"))?;
        check(libc::setuid(uid), || format!("become user {uid}"))?;
        if let Some(directory) = &program.directory {
            check(libc::chdir(directory.as_ptr()), || {
                format!("enter {}", directory.to_bytes().escape_ascii())
            })?;
        }
    }
    Ok(())
}

fn check(answer: i32, what: impl FnOnce() -> String) -> Result<(), String> {
    match system::check(answer) {
        Ok(_) => Ok(()),
        Err(why) => Err(format!("cannot {}: {why}", what())),
    }
}

/// Tries each place where the program may be, as `execvp` does, in the program's own environment.
fn execute(program: &Program) -> (i32, Errno) {
    let name = program.words[0].to_bytes();
    let path = program
        .environment
        .iter()
        .find_map(|variable| variable.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH);
    let words = pointers(&program.words);
    let environment = pointers(&program.environment);
    let mut refusal = None;
    for file in places(name, path) {
        // SAFETY: lists of strings that end with a null.
        unsafe { libc::execve(file.as_ptr(), words.as_ptr(), environment.as_ptr()) };
        match Errno::last() {
            Errno(libc::ENOENT | libc::ENOTDIR) => {}
            // It may still be somewhere else.
            why @ Errno(libc::EACCES) => refusal = refusal.or(Some(why)),
            why => return (CANNOT_RUN, why),
        }
    }
    match refusal {
        Some(why) => (CANNOT_RUN, why),
        None => (NOT_FOUND, Errno(libc::ENOENT)),
    }
}

/// The files that a program's name may mean. An empty entry of the path is the working directory.
fn places(name: &[u8], path: &[u8]) -> Vec<CString> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    path.split(|&byte| byte == b':')
        .map(|directory| if directory.is_empty() { b"." } else { directory })
        .filter_map(|directory| CString::new([directory, name].join(&b'/')).ok())
        .collect()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|string| CStr::as_ptr(string))
        .chain([ptr::null()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn a_program_is_looked_for_along_the_path_unless_it_names_a_directory() {
        assert_eq!(places(b"/bin/sh", b"/usr/bin"), [c"/bin/sh".to_owned()]);
        assert_eq!(places(b"./sh", b"/usr/bin"), [c"./sh".to_owned()]);
        let expected = [c"/usr/bin/sh", c"./sh", c"/bin/sh"].map(ToOwned::to_owned);
        assert_eq!(places(b"sh", b"/usr/bin::/bin"), expected);
        assert!(places(b"", b"/bin").is_empty());
    }
}
