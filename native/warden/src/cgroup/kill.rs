//! The end of a cgroup: everything in it killed, its directories removed.

use super::Hierarchy;
use crate::error::{Error, Result};
use crate::path::CgroupPath;
use rustix::process::{Pid, Signal, WaitOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to vanish.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes a cgroup from one hierarchy, then the parents that are empty. One that is not there is no error.
pub fn remove(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<()> {
    let directory = hierarchy.directory(path);
    remove_directory(&directory, Instant::now() + PATIENCE)?;
    // Only our own levels are tried: another sandbox, or whoever else uses a parent, keeps it (EBUSY).
    for parent in directory
        .ancestors()
        .skip(1)
        .take_while(|parent| *parent != hierarchy.mount)
    {
        if std::fs::remove_dir(parent).is_err() {
            break;
        }
    }
    Ok(())
}

/// Removes all cgroups beneath a directory, which itself stays.
pub fn remove_beneath(directory: &Path) -> Result<()> {
    for child in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_directory(&child.path(), Instant::now() + PATIENCE)?;
        }
    }
    Ok(())
}

fn remove_directory(directory: &Path, end: Instant) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        kill_all(directory);
        if let Ok(children) = std::fs::read_dir(directory) {
            for child in children.flatten() {
                if child.file_type().is_ok_and(|kind| kind.is_dir()) {
                    remove_directory(&child.path(), end)?;
                }
            }
        }
        match std::fs::remove_dir(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > end => {
                return Err(Error::system(
                    format!("cannot remove the cgroup {}", directory.display()),
                    error,
                ));
            }
            Err(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Kills all in a cgroup's directory and those beneath.
pub fn kill_tree(directory: &Path) {
    kill_all(directory);
    for child in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_tree(&child.path());
        }
    }
}

/// Sends SIGKILL to all that are in it. Frozen processes are thawed, or they would never see it.
fn kill_all(directory: &Path) {
    let Ok(pids) = std::fs::read_to_string(directory.join("cgroup.procs")) else {
        return;
    };
    if pids.is_empty() {
        return;
    }
    if std::fs::write(directory.join("cgroup.kill"), "1").is_err() {
        for pid in pids
            .lines()
            .filter_map(|line| Pid::from_raw(line.trim().parse().ok()?))
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if directory.join(file).exists() {
            let _ = std::fs::write(directory.join(file), thawed);
        }
    }
    // Those that are our children leave the cgroup only when they are reaped.
    for pid in pids
        .lines()
        .filter_map(|line| Pid::from_raw(line.trim().parse().ok()?))
    {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
