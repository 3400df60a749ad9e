//! What a request does, and when it may.

use super::{Server, Waiter};
use crate::cgroup::Cgroup;
use crate::clock;
use crate::error::{Error, Result};
use crate::net;
use crate::plan::{HookTime, Plan, StopMeans};
use crate::protocol::{Answer, OnExit, Request, Status};
use crate::session::{Exec, Workload};
use crate::state_dir::write_all;
use crate::step::{self, OciVerb};
use crate::sys;
use rustix::net::SocketFlags;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Programs that are executed in one container, those that have ended and were not forgotten included.
const MAX_EXECS: usize = 1024;

/// SIGRTMIN+3: the stop signal of images that run systemd.
const SYSTEMD_HALT: i32 = 37;

/// Which requests a status allows: the whole table. `delete` is more exact: see `delete`.
fn is_allowed(request: &Request, status: Status) -> bool {
    use Status::{Created, Creating, Paused, Running, Stopped};
    let allowed: &[Status] = match request {
        Request::Prepare { .. } | Request::Launch { .. } | Request::Undo => &[Creating],
        Request::Start | Request::Release | Request::Look => &[Created],
        Request::Signal { .. } => &[Created, Running, Paused],
        Request::Exec { .. } => &[Running],
        Request::Stop { .. } => &[Created, Running, Paused, Stopped],
        Request::Resize { .. } => &[Created, Running, Paused],
        Request::Pause => &[Running],
        Request::Resume => &[Paused],
        Request::Wait | Request::State | Request::Forget { .. } | Request::Delete { .. } => {
            &[Creating, Created, Running, Paused, Stopped]
        }
    };
    allowed.contains(&status)
}

impl Server {
    pub(super) fn handle(&mut self, connection: u64, id: u64, request: Request) {
        let replaces_kept = self.at_start.is_some() && matches!(request, Request::Launch { .. });
        let result = if !is_allowed(&request, self.status) && !replaces_kept {
            Err(Error::not_allowed(format!(
                "sandbox {} is {}",
                self.session.id(),
                self.status.name()
            )))
        } else if self.failed && !matches!(request, Request::Delete { .. } | Request::State) {
            Err(Error::not_allowed(format!(
                "sandbox {} failed and was undone",
                self.session.id()
            )))
        } else {
            self.carry_out(connection, id, request)
        };
        let answer = match result {
            Ok(None) => return,
            Ok(Some(answer)) => Ok(answer),
            Err(error) => Err(error),
        };
        if let Some(connection) = self.connection(connection) {
            connection.answer(id, &answer);
        }
    }

    /// `None`: the answer comes later.
    fn carry_out(&mut self, connection: u64, id: u64, request: Request) -> Result<Option<Answer>> {
        let done = |()| Some(Answer::Done {});
        match request {
            Request::Prepare { plan, on_exit } => self.prepare(&plan, on_exit).map(Some),
            Request::Launch { plan, at_start: true } => self.keep(plan).map(Some),
            Request::Launch { plan, .. } => self.launch(&plan).map(Some),
            Request::Look => self.look(Vec::new()).map(Some),
            Request::Undo => self.session.undo().and_then(|()| self.journal.clear()).map(done),
            Request::Release => {
                self.released = true;
                Ok(Some(Answer::Done {}))
            }
            Request::Start => {
                let result = self.start_workload().map(Some);
                if result.is_err() && self.failed && self.released {
                    self.end_unstarted();
                }
                result
            }
            Request::Signal { signal, exec: None } => self.signal(signal).map(done),
            Request::Signal {
                signal,
                exec: Some(name),
            } => self.exec(&name)?.process.signal(signal).map(done),
            Request::Exec { name, process, stdio } => {
                self.execute_besides(name, &process.0, &stdio).map(Some)
            }
            Request::Stop { timeout_ms } => {
                self.waiters.push(Waiter { connection, id });
                let result = if self.exit.is_some() {
                    Ok(())
                } else {
                    self.stop(timeout_ms)
                };
                if result.is_err() {
                    self.waiters
                        .retain(|waiter| waiter.connection != connection || waiter.id != id);
                }
                result.map(|()| None)
            }
            Request::Wait => {
                self.waiters.push(Waiter { connection, id });
                Ok(None)
            }
            Request::State => Ok(Some(Answer::State(self.state()))),
            Request::Forget { name } => {
                if self.session.execs.get(&name).is_some_and(|exec| exec.told) {
                    self.session.execs.remove(&name);
                }
                Ok(Some(Answer::Done {}))
            }
            Request::Resize { rows, cols, exec } => {
                let streams = match &exec {
                    Some(name) => &self.exec(name)?.streams,
                    None => &self.session.streams,
                };
                match streams {
                    Some(streams) => streams.resize(rows, cols).map(done),
                    None => Err(Error::not_allowed("there is no terminal")),
                }
            }
            Request::Pause => self.freeze(true).map(done),
            Request::Resume => self.freeze(false).map(done),
            Request::Delete { force } => self.delete(connection, id, force),
        }
    }

    fn exec(&self, name: &str) -> Result<&Exec> {
        self.session
            .execs
            .get(name)
            .ok_or_else(|| Error::not_allowed(format!("no program {name} was executed")))
    }

    fn execute_besides(
        &mut self,
        name: String,
        process: &[u8],
        stdio: &crate::plan::Stdio,
    ) -> Result<Answer> {
        if self.session.execs.contains_key(&name) {
            return Err(Error::not_allowed(format!(
                "a program {name} was executed before"
            )));
        }
        if self.session.execs.len() >= MAX_EXECS {
            return Err(Error::not_allowed(format!("{MAX_EXECS} programs were executed")));
        }
        let Some(Workload::Container { path, .. }) = &self.session.workload else {
            return Err(Error::not_allowed(
                "a guest has no processes to execute another beside",
            ));
        };
        let mut exec = step::oci_exec(path, process, stdio, &self.session)?;
        if exec.streams.is_none()
            && let Some(held) = &mut exec.held
        {
            held.started();
        }
        let pid = exec.process.name.pid;
        self.session.execs.insert(name, exec);
        Ok(Answer::Launched {
            pid,
            times: Vec::new(),
        })
    }

    fn prepare(&mut self, plan: &Plan, on_exit: OnExit) -> Result<Answer> {
        self.on_exit = on_exit;
        let times = self.execute(plan)?;
        self.look(times)
    }

    fn look(&mut self, times: Vec<crate::protocol::StepTime>) -> Result<Answer> {
        let net = match &self.session.network {
            Some(network) => match net::look(network.result.as_ref()) {
                Ok(facts) => Some(facts),
                Err(error) => return Err(self.failed_by(error)),
            },
            None => None,
        };
        Ok(Answer::Prepared { net, times })
    }

    /// Created, with nothing launched yet.
    fn keep(&mut self, plan: Plan) -> Result<Answer> {
        // Engines look for the cgroup of a created sandbox by our process, and wait for its terminal.
        let cgroup = self.session.cgroup.as_mut();
        cgroup
            .map_or(Ok(()), Cgroup::attached)
            .and_then(|()| step::make_terminal(&plan, &mut self.session))
            .map_err(|error| self.failed_by(error))?;
        self.at_start = Some(plan);
        self.status = Status::Created;
        self.write_state().map_err(|error| self.failed_by(error))?;
        Ok(Answer::Launched {
            pid: 0,
            times: Vec::new(),
        })
    }

    fn launch(&mut self, plan: &Plan) -> Result<Answer> {
        self.at_start = None;
        let times = self.execute(plan)?;
        let Some(pid) = self
            .session
            .process()
            .map(|process| process.name.pid)
            .filter(|_| self.session.workload.is_some())
        else {
            return Err(self.failed_by(Error::bad_request(
                "the plan starts no program: it has neither `spawn` nor `oci`",
            )));
        };
        self.status = Status::Created;
        self.write_state().map_err(|error| self.failed_by(error))?;
        Ok(Answer::Launched { pid, times })
    }

    fn execute(&mut self, plan: &Plan) -> Result<Vec<crate::protocol::StepTime>> {
        self.session
            .execute(plan, &mut self.journal)
            .map_err(|error| self.failed_by(error))
    }

    /// Undoes everything after a failure. What cannot be undone is told with it.
    fn failed_by(&mut self, error: Error) -> Error {
        self.failed = true;
        self.status = Status::Creating;
        let undone = self.session.undo().and_then(|()| self.journal.clear());
        self.session.streams = None;
        match undone {
            Ok(()) => error,
            Err(undo) => Error {
                message: format!("{}; undoing it failed too: {}", error.message, undo.message),
                ..error
            },
        }
    }

    fn start_workload(&mut self) -> Result<Answer> {
        let begun = Instant::now();
        if let Some(plan) = self.at_start.take() {
            self.launch(&plan)?;
        }
        let result = match &self.session.workload {
            Some(Workload::Monitor { .. }) => {
                step::run_kept_hooks(HookTime::Start, &self.session, Status::Created)
                    .and_then(|()| self.session.stage())
                    .and_then(|stage| stage.go())
                    .and_then(|()| self.session.greet())
            }
            Some(Workload::Container { path, .. }) => step::oci_command(path, &OciVerb::Start, &self.session)
                .map_err(|error| error.with_code("exec-failed")),
            None => Err(Error::not_allowed("nothing was launched")),
        };
        if let Err(error) = result {
            // Its last words tell why.
            if let Some(streams) = &mut self.session.streams {
                streams.drain();
            }
            return Err(self.failed_by(classify(error)));
        }
        self.status = Status::Running;
        self.started_at = Some(clock::now());
        // A terminal's input has no end of its own.
        if self.session.streams.is_none()
            && let Some(held) = &mut self.session.held
        {
            held.started();
        }
        // The program runs: a state that cannot be written does not make it not run.
        let _ = self.write_state();
        // The workload runs: a poststart hook that fails is told, and stops nothing (runtime-spec, config.md, poststart).
        if let Err(error) = step::run_kept_hooks(HookTime::Poststart, &self.session, Status::Running) {
            eprintln!("tripod-warden: poststart: {error}");
        }
        let pid = self.session.process().map_or(0, |process| process.name.pid);
        let step = if matches!(self.session.workload, Some(Workload::Container { .. })) {
            "oci"
        } else {
            "spawn"
        };
        sys::release_stack();
        let times = vec![crate::protocol::StepTime {
            step,
            us: begun.elapsed().as_micros() as u64,
        }];
        Ok(Answer::Launched { pid, times })
    }

    fn signal(&mut self, signal: u8) -> Result<()> {
        if !(1..=64).contains(&signal) {
            return Err(Error::bad_request(format!(
                "signal {signal} is not one of 1 to 64"
            )));
        }
        match &self.session.workload {
            // A frozen or merely created container is the runtime's affair; it knows how to reach one.
            Some(Workload::Container { path, .. }) if signal == 9 => {
                step::oci_command(path, &OciVerb::Kill { signal, all: true }, &self.session)
            }
            Some(Workload::Monitor { .. }) => self.signal_monitor(signal),
            Some(_) => self.send(signal),
            None if self.at_start.is_some() && ends(signal.into()) => {
                self.end_unlaunched(signal);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn send(&self, signal: u8) -> Result<()> {
        self.session
            .process()
            .map_or(Ok(()), |process| process.signal(signal))
    }

    /// A guest hears no signals: those that ask a process to end ask it to stop, those that stop and go on hold for its machine, and the others,
    /// which would only kill the monitor, are for nobody.
    fn signal_monitor(&mut self, signal: u8) -> Result<()> {
        match i32::from(signal) {
            libc::SIGKILL | libc::SIGSTOP | libc::SIGCONT => self.send(signal),
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | SYSTEMD_HALT => self.stop(None),
            _ => Ok(()),
        }
    }

    /// Asks the workload to stop and sets the time of its killing.
    pub(super) fn stop(&mut self, timeout_ms: Option<u64>) -> Result<()> {
        if self.at_start.is_some() {
            self.end_unlaunched(libc::SIGKILL as u8);
            return Ok(());
        }
        let (Some(Workload::Monitor { stop, .. }) | Some(Workload::Container { stop, .. })) =
            &self.session.workload
        else {
            return Err(Error::not_allowed("nothing was launched"));
        };
        let stop = stop.clone();
        let patience = Duration::from_millis(timeout_ms.unwrap_or(stop.deadline_ms()));
        let at = Instant::now() + patience;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        if self.status == Status::Created {
            // Nothing of the workload's has run: there is nobody to ask.
            self.kill();
            return Ok(());
        }
        if self.status == Status::Paused {
            self.freeze(false)?;
        }
        // A means that fails (a monitor that listens no more) leaves the deadline, which does not.
        let _ = match &stop {
            StopMeans::Signal { signal, .. } => match &self.session.workload {
                Some(Workload::Monitor { .. }) => self.send(*signal),
                _ => self.signal(*signal),
            },
            StopMeans::Channel { say, .. } => self.session.say(&say.0),
            StopMeans::Socket { socket, say, .. } => self.say(socket.as_str(), &say.0),
        };
        Ok(())
    }

    /// Sends bytes to a socket in the state directory, not waiting for anyone.
    fn say(&self, socket: &str, bytes: &[u8]) -> Result<()> {
        let what = format!("cannot speak to {socket}");
        let connect = || {
            let fd = crate::unix_socket::connect_in(self.session.dir.fd(), socket, SocketFlags::NONBLOCK)?;
            write_all(fd.as_fd(), bytes)
        };
        connect().map_err(|error| Error::system(what, error))
    }

    /// Kills the workload with all that belongs to it.
    pub(super) fn kill(&self) {
        if let Some(Workload::Container { path, .. }) = &self.session.workload {
            let _ = step::oci_command(path, &OciVerb::Kill { signal: 9, all: true }, &self.session);
        }
        if let Some(process) = self.session.process() {
            let _ = process.signal(9);
        }
    }

    fn freeze(&mut self, frozen: bool) -> Result<()> {
        match (&self.session.workload, &self.session.cgroup) {
            (Some(Workload::Container { path, .. }), _) => {
                let verb = if frozen { OciVerb::Pause } else { OciVerb::Resume };
                step::oci_command(path, &verb, &self.session)?;
            }
            (_, Some(cgroup)) => cgroup.freeze(frozen)?,
            (_, None) => return Err(Error::not_allowed("the sandbox has no cgroup to freeze")),
        }
        self.status = if frozen { Status::Paused } else { Status::Running };
        let _ = self.write_state();
        Ok(())
    }

    fn delete(&mut self, connection: u64, id: u64, force: bool) -> Result<Option<Answer>> {
        let is_idle = self.exit.is_some() || self.failed || self.status == Status::Creating;
        if !is_idle && !force {
            return Err(Error::not_allowed(format!(
                "sandbox {} is {}: stop it first, or use force",
                self.session.id(),
                self.status.name()
            )));
        }
        let by_daemon = self
            .task
            .as_ref()
            .is_some_and(|task| task.daemon == Some(connection));
        if by_daemon && self.exit.is_some() {
            // Nothing of it lives: the rest is removed when containerd has its answers.
            self.deleted = true;
        } else {
            self.remove()?;
        }
        if by_daemon {
            // Its socket is answered until it is shut down.
            self.done = None;
        }
        if let Some(connection) = self.connection(connection) {
            connection.answer(id, &Ok(Answer::Done {}));
        }
        Ok(None)
    }
}

/// Signals that a process which knows nothing of them does not survive, as far as engines send them.
fn ends(signal: i32) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD | libc::SIGCONT | libc::SIGSTOP | libc::SIGTSTP | libc::SIGURG | libc::SIGWINCH
    )
}

/// The codes of a start that failed: the program could not be executed, or its container could not be started.
fn classify(error: Error) -> Error {
    if error.code == "not-allowed" {
        error
    } else {
        error.with_code("exec-failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_verbs_is_closed() {
        assert!(is_allowed(&Request::Start, Status::Created));
        assert!(!is_allowed(&Request::Start, Status::Running));
        assert!(!is_allowed(&Request::Pause, Status::Paused));
        assert!(is_allowed(&Request::Resume, Status::Paused));
        assert!(!is_allowed(
            &Request::Signal {
                signal: 15,
                exec: None
            },
            Status::Stopped
        ));
        assert!(is_allowed(&Request::Wait, Status::Creating));
        assert!(!is_allowed(&Request::Look, Status::Running));
    }
}
