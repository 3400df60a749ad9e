//! What the warden holds for its sandbox while it lives, and the carrying out and undoing of plans on it.

use crate::cgroup::Cgroup;
use crate::error::{Context, Error, Result};
use crate::journal::Journal;
use crate::path::HostPath;
use crate::plan::{Channel, Hook, Plan, StopMeans};
use crate::process::{self, Process};
use crate::protocol::{Exit, StepTime};
use crate::stage::Stage;
use crate::state_dir::StateDir;
use crate::stdio::{Ends, Held, Streams};
use crate::step;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{WaitId, WaitIdOptions};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The network namespace that the warden is in, if the plan made or joined one.
pub struct Network {
    /// Where a joined one is; absent when it was made by us.
    pub joined: Option<HostPath>,
    /// What the last CNI plugin said, for name servers.
    pub result: Option<serde_json::Value>,
}

/// What runs, or will at `start`.
pub enum Workload {
    /// The stage, which becomes the monitor.
    Monitor {
        stop: StopMeans,
        /// Statuses and the exit codes that they stand for.
        exit_codes: Vec<(u8, u8)>,
    },
    Container {
        path: PathBuf,
        process: Process,
        stop: StopMeans,
    },
}

/// Bytes that a monitor may say before what is expected of it.
const MAX_GREETING: usize = 64 << 10;

fn contains(heard: &[u8], expected: &[u8]) -> bool {
    heard
        .windows(expected.len().max(1))
        .any(|window| window == expected)
}

/// A program beside the monitor.
pub struct Helper {
    pub process: Process,
    /// What it says of itself; what does not fit into the pipe is lost.
    pub stderr: OwnedFd,
}

/// A second program in a container.
pub struct Exec {
    pub process: Process,
    /// Of a terminal.
    pub streams: Option<Streams>,
    pub held: Option<Held>,
    pub exit: Option<Exit>,
    /// Whether its end was told.
    pub told: bool,
}

pub struct Session {
    pub dir: StateDir,
    pub lib: PathBuf,
    pub host_netns: OwnedFd,
    /// The mount namespace that we were started in.
    pub host_mounts: OwnedFd,
    pub cgroup: Option<Cgroup>,
    /// We end in the sandbox's cgroup, if we are in it: to leave it takes the kernel 10 ms and more, which nobody should wait for. Whoever comes after us removes it.
    pub stays: bool,
    pub network: Option<Network>,
    pub stage: Option<Stage>,
    /// Hooks whose time comes.
    pub hooks: Vec<Hook>,
    /// Where an engine waits for the terminal.
    pub console: Option<OwnedFd>,
    /// The workload's ends of a terminal that was made before its program.
    pub terminal: Option<Ends>,
    /// Our end of the monitor's channel, and what starting says and expects on it.
    pub channel: Option<(OwnedFd, Channel)>,
    /// Programs that serve the monitor.
    pub helpers: Vec<Helper>,
    /// Descriptors by the names that the plan gave them.
    pub fds: BTreeMap<String, OwnedFd>,
    pub workload: Option<Workload>,
    pub streams: Option<Streams>,
    /// By the names that they were given.
    pub execs: BTreeMap<String, Exec>,
    /// What is open beside the streams that an engine gave the workload.
    pub held: Option<Held>,
    /// The memory cgroup that tells of the workload's death for want of memory.
    pub memory: Option<PathBuf>,
}

impl Session {
    /// A session with nothing in it: the state directory as found, in the namespaces that the process is in now.
    pub fn open(dir: StateDir, lib: PathBuf) -> Result<Session> {
        let host_mounts = std::fs::File::open("/proc/self/ns/mnt")
            .map_err(|e| Error::system("cannot open /proc/self/ns/mnt", e))?;
        let host_netns = std::fs::File::open("/proc/self/ns/net")
            .map_err(|e| Error::system("cannot open /proc/self/ns/net", e))?;
        Ok(Session {
            dir,
            lib,
            host_netns: host_netns.into(),
            host_mounts: host_mounts.into(),
            cgroup: None,
            stays: false,
            network: None,
            stage: None,
            hooks: Vec::new(),
            console: None,
            terminal: None,
            channel: None,
            helpers: Vec::new(),
            fds: BTreeMap::new(),
            workload: None,
            streams: None,
            execs: BTreeMap::new(),
            held: None,
            memory: None,
        })
    }

    pub fn id(&self) -> &str {
        self.dir.id()
    }

    /// The stage; a step that needs one comes after the namespaces.
    pub fn stage(&self) -> Result<&Stage> {
        self.stage.as_ref().ok_or_else(|| {
            Error::step(
                "no step `namespaces` before this one makes or joins more than the network's namespace",
            )
        })
    }

    /// The workload's first process.
    pub fn process(&self) -> Option<&Process> {
        match self.workload.as_ref()? {
            Workload::Monitor { .. } => self.stage.as_ref().map(|stage| &stage.process),
            Workload::Container { process, .. } => Some(process),
        }
    }

    /// Waits until the monitor has said on its channel that it runs. One without a channel runs when its program does.
    pub fn greet(&self) -> Result<()> {
        let Some((fd, channel)) = &self.channel else {
            return Ok(());
        };
        let failed = |why: &str| Error::step(format!("the monitor {why}")).with_code("exec-failed");
        let end = Instant::now() + Duration::from_millis(channel.deadline_ms);
        // One that has said its word already may be past listening.
        let spoken = self.say(&channel.say.0);
        let mut heard = Vec::new();
        let mut buffer = [0u8; 4096];
        while !contains(&heard, &channel.expect.0) {
            if heard.len() > MAX_GREETING {
                return Err(failed("says too much and not what is expected of it"));
            }
            if !process::wait_readable(fd.as_fd(), end.saturating_duration_since(Instant::now())) {
                return Err(failed(&format!(
                    "did not come up within {} ms",
                    channel.deadline_ms
                )));
            }
            match rustix::io::read(fd, &mut buffer) {
                Ok(0) | Err(Errno::CONNRESET) if self.ended_well() => return Ok(()),
                Ok(0) | Err(Errno::CONNRESET) => {
                    let why = spoken.err().map_or(String::new(), |error| format!(" ({error})"));
                    return Err(failed(&format!(
                        "ended before its guest began: see its output{why}"
                    )));
                }
                Ok(length) => heard.extend_from_slice(&buffer[..length]),
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::system("cannot read the monitor's channel", error)),
            }
        }
        Ok(())
    }

    /// Whether the monitor has ended with status 0: its guest had so little to do that it was done before we could hear of it. Its status is left for
    /// whoever reaps it.
    fn ended_well(&self) -> bool {
        let Some(process) = self.process() else {
            return false;
        };
        let ended = process::wait_readable(process.fd(), Duration::from_secs(2));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        ended
            && matches!(
                rustix::process::waitid(WaitId::PidFd(process.fd()), options),
                Ok(Some(status)) if status.exit_status() == Some(0)
            )
    }

    /// Says something on the monitor's channel, waiting for nobody.
    pub fn say(&self, bytes: &[u8]) -> Result<()> {
        let Some((fd, _)) = &self.channel else {
            return Err(Error::not_allowed("the monitor has no channel"));
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if bytes.is_empty() {
            return Ok(());
        }
        rustix::net::send(fd, bytes, flags)
            .map(drop)
            .or_system(|| "cannot speak to the monitor")
    }

    /// Takes what the monitor says unasked, so that it never waits for us. Nothing of it is used; at its end the channel is closed.
    pub fn hear(&mut self) {
        let mut buffer = [0u8; 4096];
        let Some((fd, _)) = &self.channel else { return };
        if !matches!(rustix::io::read(fd, &mut buffer), Ok(1..) | Err(Errno::INTR)) {
            self.channel = None;
        }
    }

    /// Carries out a plan. On failure the error names the step; the caller undoes what the journal says.
    pub fn execute(&mut self, plan: &Plan, journal: &mut Journal) -> Result<Vec<StepTime>> {
        if plan.id != self.id() {
            return Err(Error::bad_request(format!(
                "the plan is for {}, this warden is of {}",
                plan.id,
                self.id()
            )));
        }
        let mut times = Vec::with_capacity(plan.steps.len());
        for (index, step) in plan.steps.iter().enumerate() {
            let begun = Instant::now();
            journal
                .begin(step::begun(step, self))
                .and_then(|()| step::execute(step, self))
                .map_err(|error| error.at(step.kind(), index))?;
            times.push(StepTime {
                step: step.kind(),
                us: begun.elapsed().as_micros() as u64,
            });
        }
        Ok(times)
    }

    /// Undoes what the journal says was begun, newest first. All is tried; the first failure is returned and the journal then
    /// stays as it is, so that it can be tried again.
    pub fn undo(&mut self) -> Result<()> {
        let mut first = Ok(());
        if let Some(cgroup) = &self.cgroup {
            cgroup.thaw();
        }
        for begun in Journal::read(&self.dir)?.iter().rev() {
            let result = step::undo(begun, self);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }
}
