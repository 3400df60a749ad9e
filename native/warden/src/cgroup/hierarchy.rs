//! Which cgroup hierarchies are mounted, and the directories of a cgroup in one.

use super::{read, write};
use crate::error::{Context, Error, Result};
use crate::path::CgroupPath;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Version 2.
    pub unified: bool,
    /// Controllers it holds; the freezer of version 2 is counted as one.
    pub controllers: Vec<String>,
}

pub struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Reads /proc/self/mountinfo.
    pub fn read() -> Result<Hierarchies> {
        let text = read(Path::new("/proc/self/mountinfo"))?;
        Ok(Hierarchies(text.lines().filter_map(parse).collect()))
    }

    pub fn all(&self) -> &[Hierarchy] {
        &self.0
    }

    /// The hierarchy that holds a controller. Version 1 wins: a hybrid host's unified one holds what is left over.
    pub fn with(&self, controller: &str) -> Option<&Hierarchy> {
        let mut holders: Vec<&Hierarchy> = self
            .0
            .iter()
            .filter(|hierarchy| hierarchy.has(controller))
            .collect();
        holders.sort_by_key(|hierarchy| hierarchy.unified);
        holders.first().copied()
    }
}

/// One line of mountinfo: `id parent dev root mountpoint options … - type source superoptions`.
fn parse(line: &str) -> Option<Hierarchy> {
    let (left, right) = line.split_once(" - ")?;
    let mount = PathBuf::from(unescape(left.split(' ').nth(4)?));
    let mut right = right.split(' ');
    match (right.next()?, right.nth(1)?) {
        ("cgroup", options) => {
            let controllers = options.split(',').map(str::to_string).collect();
            Some(Hierarchy {
                mount,
                unified: false,
                controllers,
            })
        }
        ("cgroup2", _) => {
            let text = std::fs::read_to_string(mount.join("cgroup.controllers")).ok()?;
            let mut controllers: Vec<String> = text.split_ascii_whitespace().map(str::to_string).collect();
            controllers.push("freezer".to_string());
            Some(Hierarchy {
                mount,
                unified: true,
                controllers,
            })
        }
        _ => None,
    }
}

/// mountinfo writes blanks in paths as octal escapes.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_string(), |path, (escape, plain)| {
            path.replace(escape, plain)
        })
}

impl Hierarchy {
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|held| held == controller)
    }

    pub fn directory(&self, path: &CgroupPath) -> PathBuf {
        self.mount.join(path.as_str().trim_start_matches('/'))
    }

    /// Makes the cgroup's directory and those above it. Another sandbox's end may remove an empty parent at any moment, so that
    /// a lost race is tried again.
    pub fn make(&self, path: &CgroupPath) -> Result<()> {
        let what = || format!("cannot make the cgroup {}", self.directory(path).display());
        for _ in 0..100 {
            match self.try_make(path) {
                Err(error) if error.errno.as_deref() == Some("ENOENT") => {}
                other => return other,
            }
        }
        Err(Error::step(format!("{}: its parents keep vanishing", what())))
    }

    fn try_make(&self, path: &CgroupPath) -> Result<()> {
        let mut above = self.mount.clone();
        for part in path.as_str().trim_start_matches('/').split('/') {
            let directory = above.join(part);
            if self.unified {
                self.delegate(&above)?;
            }
            match std::fs::create_dir(&directory) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(Error::system(
                        format!("cannot make the cgroup {}", directory.display()),
                        error,
                    ));
                }
            }
            // A new cpuset is empty, and a process cannot be moved into an empty one.
            if !self.unified && self.has("cpuset") {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    if read(&directory.join(file))?.trim().is_empty() {
                        write(&directory.join(file), read(&above.join(file))?.trim())?;
                    }
                }
            }
            above = directory;
        }
        Ok(())
    }

    /// Version 2: lets the children of `directory` have the controllers that it has.
    fn delegate(&self, directory: &Path) -> Result<()> {
        let held = read(&directory.join("cgroup.controllers"))?;
        let given = read(&directory.join("cgroup.subtree_control"))?;
        let given: Vec<&str> = given.split_ascii_whitespace().collect();
        for controller in ["cpu", "cpuset", "memory", "pids"] {
            if held.split_ascii_whitespace().any(|one| one == controller) && !given.contains(&controller) {
                let file = directory.join("cgroup.subtree_control");
                std::fs::write(&file, format!("+{controller}"))
                    .or_system(|| format!("cannot enable {controller} in {}", file.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_of_a_version_1_host_is_understood() {
        let line =
            "33 32 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let hierarchy = parse(line).unwrap();
        assert!(hierarchy.has("cpu") && hierarchy.has("cpuacct") && !hierarchy.unified);
        assert_eq!(hierarchy.mount, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(parse("24 1 0:5 / /proc rw - proc proc rw").is_none());
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn blanks_in_mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b\\134"), "/a b\\");
    }
}
