//! The stage: the process that becomes the monitor. It is cloned into its namespaces when they are made, builds the private
//! root on the warden's orders, strips itself of everything and waits; `go` turns it into the program. The warden resolves
//! all that is the host's (files, mounts, devices) and hands it over as descriptors: the stage resolves only names inside the
//! private root.

mod child;
mod credentials;
mod exec;
mod message;
mod root;
mod volume;

pub use child::MAX_GRANT;
pub use message::{Order, receive_fd, send_fd};

use crate::error::{Context, Error, Result};
use crate::plan::{NamespaceKind, Namespaces};
use crate::process::Process;
use crate::sys::{self, Cloned};
use message::Reply;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long the stage may take for one order. Its work is a few system calls.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Stage {
    pub process: Process,
    socket: OwnedFd,
    /// Made with a user namespace: device nodes are then bound, not made.
    pub has_users: bool,
}

/// The clone flag of a kind of namespace.
pub fn clone_flag(kind: NamespaceKind) -> libc::c_int {
    match kind {
        NamespaceKind::User => libc::CLONE_NEWUSER,
        NamespaceKind::Mount => libc::CLONE_NEWNS,
        NamespaceKind::Pid => libc::CLONE_NEWPID,
        NamespaceKind::Network => libc::CLONE_NEWNET,
        NamespaceKind::Ipc => libc::CLONE_NEWIPC,
        NamespaceKind::Uts => libc::CLONE_NEWUTS,
        NamespaceKind::Cgroup => libc::CLONE_NEWCGROUP,
        NamespaceKind::Time => libc::CLONE_NEWTIME,
    }
}

impl Stage {
    /// Clones the stage into the namespaces that the step makes (all but the network's, which is the warden's own by now)
    /// and lets it join the others. `joined` are the opened files of `step.join`, in its order.
    pub fn start(step: &Namespaces, joined: Vec<(NamespaceKind, OwnedFd)>) -> Result<Stage> {
        let make = |kind: &&NamespaceKind| **kind != NamespaceKind::Network;
        let flags = step
            .make
            .iter()
            .filter(make)
            .fold(0, |flags, kind| flags | clone_flag(*kind));
        let (ours, theirs) = crate::unix_socket::pair().or_system(|| "cannot make a socket pair")?;
        // A pid namespace is entered by the next child only: we go there for one clone and come back.
        let own_pids =
            std::fs::File::open("/proc/self/ns/pid").or_system(|| "cannot open /proc/self/ns/pid")?;
        let pids = joined.iter().find(|(kind, _)| *kind == NamespaceKind::Pid);
        if let Some((_, fd)) = pids {
            sys::setns(fd.as_fd(), libc::CLONE_NEWPID).or_system(|| "cannot join the pid namespace")?;
        }
        // SAFETY: the warden is single-threaded here: the only thread it ever starts fills the cgroup of this very process, later.
        let cloned = unsafe { sys::clone3(flags as u32 as u64) };
        if matches!(cloned, Ok(Cloned::Child)) {
            child::main(theirs);
        }
        if pids.is_some() {
            sys::setns(own_pids.as_fd(), libc::CLONE_NEWPID)
                .or_system(|| "cannot come back from the pid namespace")?;
        }
        let Cloned::Parent { pid, pidfd } =
            cloned.or_system(|| format!("cannot make the namespaces {:?}", step.make))?
        else {
            return Err(Error::step("the stage went astray"));
        };
        drop(theirs);
        let process = Process::new(pid, pidfd);
        let has_users = step.make.contains(&NamespaceKind::User);
        let stage = Stage {
            process,
            socket: ours,
            has_users,
        };
        if has_users {
            stage.map_ids(step)?;
        }
        let (kinds, fds): (Vec<_>, Vec<_>) = joined
            .into_iter()
            .filter(|(kind, _)| *kind != NamespaceKind::Pid)
            .unzip();
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(OwnedFd::as_fd).collect();
        let become_root = has_users || kinds.contains(&NamespaceKind::User);
        let own_mounts = step.make.contains(&NamespaceKind::Mount);
        stage.order(
            &Order::Begin {
                join: kinds,
                hostname: step.hostname.clone(),
                become_root,
                own_mounts,
            },
            &fds,
        )?;
        Ok(stage)
    }

    fn map_ids(&self, step: &Namespaces) -> Result<()> {
        let pid = self.process.name.pid;
        for (file, maps) in [("uid_map", &step.uid_map), ("gid_map", &step.gid_map)] {
            let text: String = maps
                .iter()
                .flatten()
                .map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count))
                .collect();
            std::fs::write(format!("/proc/{pid}/{file}"), text)
                .or_system(|| format!("cannot write {file}"))?;
        }
        Ok(())
    }

    /// Has the stage carry out one order, with the descriptors it needs.
    pub fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<()> {
        message::send(self.socket.as_fd(), order, fds).or_system(|| "the stage process is gone")?;
        self.reply()?
            .unwrap_or_else(|| Err(Error::step("the stage process ended while it built the sandbox")))
    }

    /// Lets the stage exec; returns when the program runs.
    pub fn go(&self) -> Result<()> {
        let gone = |error: Error| error.with_code("exec-failed");
        message::send(self.socket.as_fd(), &Order::Go, &[])
            .or_system(|| "the sandbox's process is gone")
            .map_err(gone)?;
        // The socket closes at exec: no reply means that the program runs.
        self.reply().map_err(gone)?.unwrap_or(Ok(())).map_err(gone)
    }

    /// `None` at the end of the stream.
    fn reply(&self) -> Result<Option<Result<()>>> {
        if !crate::process::wait_readable(self.socket.as_fd(), PATIENCE) {
            return Err(Error::step(format!(
                "the stage process did not answer within {} s",
                PATIENCE.as_secs()
            )));
        }
        let reply = message::receive::<Reply>(self.socket.as_fd())
            .or_system(|| "cannot read from the stage process")?;
        Ok(reply.map(|(reply, _)| reply.into_result()))
    }
}
