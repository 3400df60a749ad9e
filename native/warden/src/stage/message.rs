//! What the warden and its stage say to each other: a length, a JSON value, and descriptors beside it.

use crate::error::{Error, Result};
use crate::plan::{Mount, NamespaceKind, Spawn};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Descriptors in one message (the kernel's own limit is 253).
const MAX_FDS: usize = 128;

#[derive(Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
pub enum Order {
    /// First of all: join namespaces (a descriptor each), set the host name, become root of a new user namespace.
    Begin {
        join: Vec<NamespaceKind>,
        hostname: Option<String>,
        become_root: bool,
        own_mounts: bool,
    },
    Root {
        size_bytes: u64,
    },
    /// Attach a detached mount (one descriptor) at a path of the private root. `within`: a directory in it that is the root of the path.
    Attach {
        at: String,
        directory: bool,
        within: Option<String>,
    },
    /// Make one mount of the private root read-only.
    Protect {
        at: String,
    },
    /// Take a mount of the host's out of this namespace, before the private root is the only one.
    Forget {
        at: String,
    },
    Mount {
        step: Mount,
    },
    /// Make a device node; `kind` is a file type as in `st_mode`.
    Node {
        at: String,
        kind: u32,
        device: u64,
    },
    /// Become all but the program. Descriptors: the program, stdin, stdout, stderr, then one for each grant.
    Ready {
        spawn: Box<Spawn>,
    },
    Go,
}

#[derive(Serialize, Deserialize)]
pub enum Reply {
    Done,
    Failed { message: String, errno: Option<String> },
}

impl Reply {
    pub fn of(result: &Result<()>) -> Reply {
        match result {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed {
                message: error.message.clone(),
                errno: error.errno.clone(),
            },
        }
    }

    pub fn into_result(self) -> Result<()> {
        match self {
            Reply::Done => Ok(()),
            Reply::Failed { message, errno } => Err(Error {
                errno,
                ..Error::step(message)
            }),
        }
    }
}

pub fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    value: &T,
    fds: &[BorrowedFd<'_>],
) -> std::result::Result<(), Errno> {
    if fds.len() > MAX_FDS {
        return Err(Errno::TOOBIG);
    }
    let body = serde_json::to_vec(value).map_err(|_| Errno::INVAL)?;
    let length = (body.len() as u32).to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&length)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    let mut rest = &body[..];
    while !rest.is_empty() {
        rest = &rest[rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?..];
    }
    Ok(())
}

/// The next value and its descriptors; `None` at the end of the stream.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> std::result::Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut length = [0u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    );
    let got = match got {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(error) => return Err(error),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got != length.len() {
        return Ok(None);
    }
    let mut body = vec![0u8; u32::from_ne_bytes(length) as usize];
    let mut filled = 0;
    while filled < body.len() {
        match rustix::net::recv(socket, &mut body[filled..], RecvFlags::empty())?.1 {
            0 => return Ok(None),
            more => filled += more,
        }
    }
    serde_json::from_slice(&body)
        .map(|value| Some((value, fds)))
        .map_err(|_| Errno::PROTO)
}

/// Sends one descriptor with a word beside it, as OCI runtimes send a terminal.
pub fn send_fd(socket: BorrowedFd<'_>, word: &[u8], fd: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket, &[IoSlice::new(word)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// One descriptor sent with at least one byte, as OCI runtimes send a terminal.
pub fn receive_fd(socket: BorrowedFd<'_>) -> std::result::Result<Option<OwnedFd>, Errno> {
    let mut byte = [0u8; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(received)
}
