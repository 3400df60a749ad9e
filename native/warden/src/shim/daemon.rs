//! `tripodd`, started where nobody answers: by a task's beginning, and by a warden whose daemon went away. One of many that try at once does it: the daemon inherits
//! the lock that the others find taken, and holds it as long as it lives.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Where a daemon that a warden starts belongs: not into the sandbox's namespaces and cgroups.
pub struct Outside<'a> {
    pub mounts: &'a OwnedFd,
    pub network: &'a OwnedFd,
    /// `cgroup.procs` files of the groups that the warden came from.
    pub cgroups: Vec<PathBuf>,
}

/// Starts it unless another is starting or runs. Its state lies beneath `run`, whose parent is the root where it is not the usual one.
pub fn start(run: &Path, outside: Option<&Outside<'_>>) -> Result<(), String> {
    let Some(lock) = lock(run)? else { return Ok(()) };
    let mut command =
        crate::runtime::node("build/tripodd.cjs", "src/cli/daemon.ts").map_err(|failure| failure.message)?;
    if run != Path::new("/run/tripod")
        && let Some(root) = run.parent()
    {
        command.arg("--root").arg(root);
    }
    command
        .arg("--idle")
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let number = lock.as_raw_fd();
    let namespaces: Vec<(RawFd, libc::c_int)> = outside.map_or_else(Vec::new, |outside| {
        vec![
            (outside.mounts.as_raw_fd(), libc::CLONE_NEWNS),
            (outside.network.as_raw_fd(), libc::CLONE_NEWNET),
        ]
    });
    let cgroups: Vec<std::ffi::CString> = outside
        .iter()
        .flat_map(|outside| &outside.cgroups)
        .filter_map(|path| std::ffi::CString::new(path.as_os_str().as_bytes()).ok())
        .collect();
    // SAFETY: the closure makes system calls alone, on descriptors and texts that live until the spawn.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            crate::sys::unblock_signals();
            for (fd, kind) in &namespaces {
                if libc::setns(*fd, *kind) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            for file in &cgroups {
                let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if fd >= 0 {
                    libc::write(fd, c"0".as_ptr().cast(), 1);
                }
            }
            // Inherited, so that it is held until the daemon's end.
            if libc::fcntl(number, libc::F_SETFD, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
        .spawn()
        .map(drop)
        .map_err(|error| format!("tripodd cannot be started: {error}"))
}

/// The lock, or nothing while another holds it.
fn lock(run: &Path) -> Result<Option<OwnedFd>, String> {
    let path = run.join("tripodd.lock");
    let failed = |error: rustix::io::Errno| format!("{} cannot be locked: {error}", path.display());
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(fd)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
