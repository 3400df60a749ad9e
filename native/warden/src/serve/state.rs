//! The state as others see it: `state.json`, and the answer to `state`.

use super::Server;
use crate::error::{Error, Result};
use crate::protocol::{ExecState, ProcessName, StateFile, Status};

impl Server {
    pub(super) fn state(&self) -> StateFile {
        let process = match self.status {
            Status::Creating | Status::Stopped => None,
            _ => self.session.process().map(|process| process.name),
        };
        let ProcessName { pid, start_ticks } = process.unwrap_or(ProcessName {
            pid: 0,
            start_ticks: 0,
        });
        StateFile {
            version: 1,
            id: self.session.id().to_string(),
            status: self.status,
            pid,
            start_ticks,
            warden: self.warden,
            created_at: self.created_at.clone(),
            started_at: self.started_at.clone(),
            exit: self.exit.clone(),
            execs: self
                .session
                .execs
                .iter()
                .map(|(name, exec)| ExecState {
                    name: name.clone(),
                    pid: exec.process.name.pid,
                    exit: exec.exit.clone(),
                })
                .collect(),
        }
    }

    pub(super) fn write_state(&mut self) -> Result<()> {
        let text = serde_json::to_vec(&self.state()).map_err(|error| Error::step(error.to_string()))?;
        self.session.dir.replace_file("state.json", &text)
    }
}
