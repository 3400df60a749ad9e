//! What the warden holds for its sandbox while it lives, and the carrying out and undoing of plans on it.

use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::path::HostPath;
use crate::plan::{Plan, StopMeans};
use crate::process::Process;
use crate::protocol::StepTime;
use crate::stage::Stage;
use crate::state_dir::StateDir;
use crate::stdio::Streams;
use crate::step;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

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
    Monitor { stop: StopMeans },
    Container {
        path: PathBuf,
        process: Process,
        stop: StopMeans,
    },
}

pub struct Session {
    pub dir: StateDir,
    pub lib: PathBuf,
    pub host_netns: OwnedFd,
    pub cgroup: Option<Cgroup>,
    pub network: Option<Network>,
    pub stage: Option<Stage>,
    /// Descriptors by the names that the plan gave them.
    pub fds: BTreeMap<String, OwnedFd>,
    pub workload: Option<Workload>,
    pub streams: Option<Streams>,
    /// The memory cgroup that tells of the workload's death for want of memory.
    pub memory: Option<PathBuf>,
}

impl Session {
    /// A session with nothing in it: the state directory as found, in the network namespace that the process is in now.
    pub fn open(dir: StateDir, lib: PathBuf) -> Result<Session> {
        let host_netns = std::fs::File::open("/proc/self/ns/net")
            .map_err(|e| Error::system("cannot open /proc/self/ns/net", e))?;
        Ok(Session {
            dir,
            lib,
            host_netns: host_netns.into(),
            cgroup: None,
            network: None,
            stage: None,
            fds: BTreeMap::new(),
            workload: None,
            streams: None,
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
