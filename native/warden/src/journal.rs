//! The journal: which steps were begun, so that a crash, a failed step and `delete` end in the same undoing. One JSON line
//! is written before a step touches anything; it holds the names that undoing needs and never a command.

use crate::error::{Context, Result};
use crate::path::{CgroupPath, HostPath, StatePath};
use crate::plan::{Nat, Network, OciRuntime};
use crate::state_dir::{StateDir, read_limited, write_all};
use crate::step::Mounted;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// A step that was begun, with what its undo needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "begin", rename_all = "lowercase")]
pub enum Begun {
    Directory,
    File,
    Concat {
        at: StatePath,
    },
    Cgroup {
        path: CgroupPath,
    },
    Namespaces,
    Network(Network),
    Overlay {
        at: StatePath,
    },
    Copy,
    /// `mount`: what was mounted there.
    Unmount {
        at: HostPath,
        #[serde(skip_serializing_if = "Option::is_none")]
        mount: Option<Mounted>,
    },
    Rootfs {
        at: HostPath,
    },
    Root,
    Bind,
    Mount,
    Device,
    Open,
    /// `named`: a tap that an owner opens by its name. `netns`: the namespace that it and the redirect outlive us in; absent when it was
    /// made by us and dies with us.
    Tap {
        #[serde(skip_serializing_if = "Option::is_none")]
        redirect: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        named: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<HostPath>,
    },
    /// `netns`: as of a tap.
    Nat {
        step: Nat,
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<HostPath>,
    },
    Hook,
    /// `cgroup`: the one that the bundle names, which a runtime killed halfway leaves behind.
    Oci {
        runtime: OciRuntime,
        #[serde(skip_serializing_if = "Option::is_none")]
        cgroup: Option<CgroupPath>,
    },
    Helper,
    Spawn,
}

impl Begun {
    /// Whether the step leaves something that outlives both this process and the state directory. Only such a step must be on
    /// disk before it begins: the others vanish with a crash of the machine as they do with ours.
    fn outlives_us(&self) -> bool {
        match self {
            Begun::Cgroup { .. }
            | Begun::Network(_)
            | Begun::Oci { .. }
            | Begun::Unmount { .. }
            | Begun::Rootfs { .. } => true,
            Begun::Tap { netns, .. } | Begun::Nat { netns, .. } => netns.is_some(),
            _ => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    n: usize,
    #[serde(flatten)]
    begun: Begun,
}

pub struct Journal {
    file: OwnedFd,
    next: usize,
}

/// Bytes of a journal that is read back; a plan is at most one protocol line.
const LIMIT: usize = 16 << 20;

impl Journal {
    pub fn create(dir: &StateDir) -> Result<Journal> {
        let flags = OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CLOEXEC
            | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(dir.fd(), "journal", flags, Mode::RUSR | Mode::WUSR)
            .or_system(|| format!("cannot write {}/journal", dir.path().display()))?;
        Ok(Journal { file, next: 0 })
    }

    /// Says that a step begins now.
    pub fn begin(&mut self, begun: Begun) -> Result<()> {
        let sync = begun.outlives_us();
        let line = Line { n: self.next, begun };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        write_all(self.file.as_fd(), &text).or_system(|| "cannot write the journal")?;
        if sync {
            rustix::fs::fdatasync(&self.file).or_system(|| "cannot sync the journal")?;
        }
        self.next += 1;
        Ok(())
    }

    /// Forgets everything, after all of it was undone.
    pub fn clear(&mut self) -> Result<()> {
        rustix::fs::ftruncate(&self.file, 0).or_system(|| "cannot clear the journal")?;
        self.next = 0;
        Ok(())
    }

    /// Whether nothing is left to undo, as far as we know.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// What was begun, oldest first. A last line that was cut short by a crash began nothing.
    pub fn read(dir: &StateDir) -> Result<Vec<Begun>> {
        let what = || format!("cannot read {}/journal", dir.path().display());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(dir.fd(), "journal", flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(crate::error::Error::system(what(), error)),
        };
        let text = read_limited(file.as_fd(), LIMIT).or_system(what)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice::<Line>(line)
                    .map(|line| line.begun)
                    .map_err(|error| {
                        crate::error::Error::step(format!(
                            "{}/journal is damaged: {error}",
                            dir.path().display()
                        ))
                    })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back_as_they_were_written_and_a_cut_one_is_dropped() {
        let base = std::env::temp_dir().join(format!("tripod-journal-{}", std::process::id()));
        std::fs::create_dir_all(base.join("a")).unwrap();
        let dir = StateDir::open(&base.join("a")).unwrap();
        let cgroup = Begun::Cgroup {
            path: CgroupPath::try_from("/tripod/a".to_string()).unwrap(),
        };
        let tap = Begun::Tap {
            redirect: Some("eth0".into()),
            named: None,
            netns: None,
        };
        let mut journal = Journal::create(&dir).unwrap();
        journal.begin(cgroup.clone()).unwrap();
        journal.begin(tap.clone()).unwrap();
        write_all(journal.file.as_fd(), b"{\"n\":2,\"begin\":\"oc").unwrap();
        assert_eq!(Journal::read(&dir).unwrap(), vec![cgroup, tap]);
        std::fs::remove_dir_all(base).unwrap();
    }
}
