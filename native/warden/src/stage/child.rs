//! The stage's own side: carries out orders until one of them is `go` or the warden is gone.

use super::message::{self, Order, Reply};
use super::root::PrivateRoot;
use super::{clone_flag, exec};
use crate::error::{Context, Error, Result};
use crate::plan::NamespaceKind;
use crate::step::forget_mount;
use crate::sys;
use rustix::mount::MountPropagationFlags;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Descriptors are given to programs at 3 to this number.
pub const MAX_GRANT: i32 = 255;

/// Runs in the cloned child and never returns to the warden's code.
pub fn main(socket: OwnedFd) -> ! {
    sys::parent_death_signal(libc::SIGKILL);
    // Everything of the warden's goes: its lock, its sockets, its journal. Only the user's streams (replaced before exec) and
    // the socket stay. If the warden died before the line above, the socket's end tells.
    // It moves above every number that a program may be given a descriptor at.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(&socket, MAX_GRANT + 1) else {
        sys::exit_child(1)
    };
    let number = socket.as_raw_fd() as u32;
    sys::close_range(3, number - 1);
    sys::close_range(number + 1, u32::MAX);
    let mut stage = Child {
        socket,
        root: None,
        ready: None,
    };
    let status = match stage.serve() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    sys::exit_child(status)
}

struct Child {
    socket: OwnedFd,
    root: Option<PrivateRoot>,
    ready: Option<exec::Ready>,
}

impl Child {
    fn serve(&mut self) -> Result<()> {
        while let Some((order, fds)) =
            message::receive::<Order>(self.socket.as_fd()).or_system(|| "cannot read an order")?
        {
            // `go` returns only when it failed.
            let result = self.obey(order, fds);
            message::send(self.socket.as_fd(), &Reply::of(&result), &[])
                .or_system(|| "cannot answer the warden")?;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) -> Result<()> {
        match order {
            Order::Begin {
                join,
                hostname,
                become_root,
                own_mounts,
            } => begin(&join, &fds, hostname.as_deref(), become_root, own_mounts),
            Order::Root { size_bytes } => {
                self.root = Some(PrivateRoot::create(size_bytes)?);
                Ok(())
            }
            Order::Attach {
                at,
                directory,
                within,
            } => {
                let [mount] = &fds[..] else { return Err(astray()) };
                match within {
                    None => self.root()?.attach(mount.as_fd(), &at, directory),
                    Some(tree) => self.root()?.attach_within(mount.as_fd(), &tree, &at, directory),
                }
            }
            Order::Protect { at } => self.root()?.protect(&at),
            Order::Forget { at } => forget_mount(&at.try_into().map_err(Error::step)?),
            Order::Mount { step } => self.root()?.mount(&step),
            Order::Node { at, kind, device } => self.root()?.make_node(&at, kind, device),
            Order::Ready { spawn } => {
                let root = self.root.take().ok_or_else(no_root)?;
                self.ready = Some(exec::prepare(&spawn, root, fds)?);
                Ok(())
            }
            Order::Go => Err(self.ready.take().ok_or_else(astray)?.exec()),
        }
    }

    fn root(&mut self) -> Result<&mut PrivateRoot> {
        self.root.as_mut().ok_or_else(no_root)
    }
}

fn no_root() -> Error {
    Error::step("the plan has no step `root` before this one")
}

fn astray() -> Error {
    Error::step("the stage got an order out of turn")
}

fn begin(
    join: &[NamespaceKind],
    fds: &[OwnedFd],
    hostname: Option<&str>,
    become_root: bool,
    own_mounts: bool,
) -> Result<()> {
    for (kind, fd) in join.iter().zip(fds) {
        sys::setns(fd.as_fd(), clone_flag(*kind))
            .or_system(|| format!("cannot join the {kind:?} namespace"))?;
    }
    if become_root {
        rustix::thread::set_thread_gid(rustix::process::Gid::ROOT)
            .and_then(|()| rustix::thread::set_thread_uid(rustix::process::Uid::ROOT))
            .or_system(|| "cannot become root of the user namespace: map id 0")?;
    }
    if own_mounts {
        // Nothing that is mounted here reaches the host, and nothing of the host's comes in any more.
        let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", flags).or_system(|| "cannot make the mounts private")?;
    }
    if let Some(name) = hostname {
        rustix::system::sethostname(name.as_bytes())
            .or_system(|| format!("cannot set the host name {name:?}"))?;
    }
    Ok(())
}
