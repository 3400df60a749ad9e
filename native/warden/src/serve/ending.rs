//! How it ends: the workload's end, a killing, a removal; each through the same undoing.

use super::Server;
use crate::cgroup;
use crate::clock;
use crate::journal::Begun;
use crate::protocol::{Answer, Exit, ExitEvent, OnExit, Status};
use crate::remove;
use crate::session::Workload;
use crate::sys;
use rustix::event::PollFlags;
use rustix::process::{WaitOptions, WaitStatus};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// After a killing that did not end the workload, it is tried again.
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// Our exit status where the workload never ran, as runc's first process has it.
const START_FAILED: u8 = 1;

/// How long a task's last output may take to be passed on: a reader that has stopped must not hide the end.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// How long a monitor may go on without a helper of its.
const WITHOUT_HELPER: Duration = Duration::from_secs(2);

impl Server {
    pub(super) fn on_signals(&mut self) {
        while let Some(signal) = sys::next_signal(self.signals.as_fd()) {
            match signal {
                libc::SIGCHLD => self.reap(),
                libc::SIGHUP => {}
                _ => self.on_end_signal(signal),
            }
        }
    }

    /// TERM, INT or QUIT to ourselves: stop what runs, or give up what does not yet.
    fn on_end_signal(&mut self, signal: i32) {
        if self.exit.is_some() {
            return;
        }
        if matches!(self.status, Status::Creating) || self.stop(None).is_err() {
            self.abandon(128 + signal as u8);
        }
    }

    /// Takes the status of every child that has ended: the workload, and orphans that became ours.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let is_workload = self.session.workload.is_some()
                && self
                    .session
                    .process()
                    .is_some_and(|process| process.name.pid == pid.as_raw_nonzero().get());
            if is_workload && self.exit.is_none() {
                self.on_workload_end(status);
            } else if self.on_exec_end(pid.as_raw_nonzero().get(), status) {
                // Told once its last output is passed on.
            } else if self.is_helper(pid.as_raw_nonzero().get()) {
                // What it served would hang: a guest without its files is none. But a monitor that is just ending lets go of it first.
                let at = Instant::now() + WITHOUT_HELPER;
                self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
            }
        }
    }

    /// Whether it was a program that was executed besides.
    fn on_exec_end(&mut self, pid: i32, status: WaitStatus) -> bool {
        let mut execs = self.session.execs.values_mut();
        let Some(exec) = execs.find(|exec| exec.process.name.pid == pid && exec.exit.is_none()) else {
            return false;
        };
        let signal = status.terminating_signal().map(|signal| signal as u8);
        let code = status.exit_status().map(|code| code as u8);
        exec.exit = Some(Exit {
            exit_code: code.or(signal.map(|signal| 128 + signal)).unwrap_or(255),
            signal,
            oom_killed: false,
            finished_at: clock::now(),
        });
        true
    }

    /// The last output of a task is waited for no longer.
    fn is_late(&self) -> bool {
        self.drain_until.is_some_and(|until| until <= Instant::now())
    }

    /// Tells the ends of programs that were executed besides, each once its output is passed on.
    pub(super) fn tell_execs(&mut self) {
        let is_late = self.is_late();
        for (name, exec) in &mut self.session.execs {
            let Some(exit) = &exec.exit else { continue };
            if exec.told || !(is_late || exec.streams.as_mut().is_none_or(crate::stdio::Streams::drain)) {
                continue;
            }
            exec.told = true;
            // The other ends of its streams see the end.
            exec.streams = None;
            exec.held = None;
            let event = ExitEvent {
                event: "exit",
                exec: Some(name),
                exit,
            };
            for connection in self
                .connections
                .iter_mut()
                .filter(|connection| connection.is_owner)
            {
                connection.send(&event);
            }
        }
    }

    /// The workload has ended: everything live is undone, then its last output is passed on.
    fn on_workload_end(&mut self, status: WaitStatus) {
        let oom_killed = self.session.memory.as_deref().is_some_and(cgroup::was_oom_killed);
        let signal = status.terminating_signal().map(|signal| signal as u8);
        let exit_code = match (status.exit_status(), signal) {
            (Some(code), _) => self.meaning(code as u8),
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        };
        self.conclude(exit_code, signal, oom_killed);
    }

    /// The end of a sandbox whose launch plan was kept: nothing of it has run.
    pub(super) fn end_unlaunched(&mut self, signal: u8) {
        self.at_start = None;
        self.session.terminal = None;
        self.conclude(128 + signal, Some(signal), false);
    }

    fn conclude(&mut self, exit_code: u8, signal: Option<u8>, oom_killed: bool) {
        self.kill_at = None;
        // What still writes (children of a container's first process) ends with the undoing.
        // Of a task, all that containerd waits for is over long before its last answer.
        self.session.stays = self.task.is_some();
        self.drain_until = self.task.is_some().then(|| Instant::now() + LAST_OUTPUT);
        let undone = self.session.undo();
        if undone.is_ok() {
            let _ = self.journal.clear();
            // What is left is for whoever deletes the sandbox.
            if let Some(cgroup) = &self.session.cgroup {
                let path = cgroup.path().clone();
                let _ = self.journal.begin(Begun::Cgroup { path });
            }
        }
        self.undo_failed = undone.is_err();
        self.exit = Some(Exit {
            exit_code,
            signal,
            oom_killed,
            finished_at: clock::now(),
        });
    }

    fn is_helper(&self, pid: i32) -> bool {
        let mut helpers = self.session.helpers.iter();
        helpers.any(|helper| helper.process.name.pid == pid)
    }

    /// The exit code that a status of the program stands for.
    fn meaning(&self, status: u8) -> u8 {
        let Some(Workload::Monitor { exit_codes, .. }) = &self.session.workload else {
            return status;
        };
        exit_codes
            .iter()
            .find(|(from, _)| *from == status)
            .map_or(status, |(_, code)| *code)
    }

    /// The start failed and nobody waits for us to say so but whoever asked for it: the sandbox is one that has stopped, kept for `delete`.
    pub(super) fn end_unstarted(&mut self) {
        self.undo_failed = !self.journal.is_empty();
        self.exit = Some(Exit {
            exit_code: START_FAILED,
            signal: None,
            oom_killed: false,
            finished_at: clock::now(),
        });
    }

    /// Once the workload has ended and its output is passed on: tell everyone, and end.
    pub(super) fn finish_if_drained(&mut self) {
        let Some(exit) = self.exit.clone() else { return };
        let is_late = self.is_late();
        let is_alone = self.session.execs.values().all(|exec| exec.told);
        let is_drained = self
            .session
            .streams
            .as_mut()
            .is_none_or(|streams| streams.drain());
        if self.done.is_some() || self.told || !(is_late || (is_alone && is_drained)) {
            return;
        }
        self.status = Status::Stopped;
        let _ = self.write_state();
        let undone = !self.undo_failed;
        if self.on_exit == OnExit::Remove && undone {
            let _ = remove::remove_state(&self.session.dir);
        }
        self.hear_the_last();
        self.tell(&exit);
        self.told = true;
        // containerd asks on.
        if self.task.is_none() {
            self.done = Some(exit.exit_code);
        }
    }

    /// Takes up requests that were on their way when the workload ended, so that their senders get an answer and not an end.
    fn hear_the_last(&mut self) {
        let numbers: Vec<u64> = self
            .connections
            .iter()
            .map(|connection| connection.number)
            .collect();
        for number in numbers {
            self.serve(number, PollFlags::IN);
        }
    }

    /// Answers everyone who waits for the end, and tells the owner.
    fn tell(&mut self, exit: &Exit) {
        for waiter in std::mem::take(&mut self.waiters) {
            if let Some(connection) = self.connection(waiter.connection) {
                connection.answer(waiter.id, &Ok(Answer::Exit(exit.clone())));
            }
        }
        let event = ExitEvent {
            event: "exit",
            exec: None,
            exit,
        };
        for connection in self
            .connections
            .iter_mut()
            .filter(|connection| connection.is_owner)
        {
            connection.send(&event);
        }
    }

    /// The workload did not stop in time.
    pub(super) fn on_deadline(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill();
            self.kill_at = Some(Instant::now() + KILL_AGAIN);
        }
    }

    /// Nobody wants this sandbox any more: undo it all, remove the state directory, end.
    pub(super) fn abandon(&mut self, status: u8) {
        let _ = self.remove();
        self.done = Some(status);
    }

    /// Undoes everything and removes the state directory. What cannot be undone leaves the journal, and us to be asked again.
    pub(super) fn remove(&mut self) -> crate::error::Result<()> {
        self.session.stays = false;
        self.session.undo()?;
        self.journal.clear()?;
        remove::remove_state(&self.session.dir)?;
        let exit = self.exit.clone().unwrap_or_else(|| Exit {
            exit_code: 137,
            signal: Some(9),
            oom_killed: false,
            finished_at: clock::now(),
        });
        self.tell(&exit);
        self.done = Some(exit.exit_code);
        Ok(())
    }
}
