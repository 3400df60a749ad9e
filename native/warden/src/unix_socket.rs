//! Unix stream sockets, close-on-exec. An address holds 107 bytes only: a socket in a directory is reached through the directory's descriptor, however
//! deep that lies.

use rustix::fs::Mode;
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Two ends of one connection.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Connects to the socket `name` in `dir`; `more` is `NONBLOCK` or nothing.
pub fn connect_in(dir: BorrowedFd<'_>, name: impl AsRef<OsStr>, more: SocketFlags) -> Result<OwnedFd> {
    let socket = new(more)?;
    rustix::net::connect(&socket, &address(dir, name.as_ref())?)?;
    Ok(socket)
}

/// Listens on a new socket `name` in `dir`, with the permissions that `mask` leaves.
pub fn listen_in(
    dir: BorrowedFd<'_>,
    name: impl AsRef<OsStr>,
    more: SocketFlags,
    mask: u32,
    backlog: i32,
) -> Result<OwnedFd> {
    let socket = new(more)?;
    let address = address(dir, name.as_ref())?;
    let before = rustix::process::umask(Mode::from_raw_mode(mask));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

fn new(more: SocketFlags) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | more;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn address(dir: BorrowedFd<'_>, name: &OsStr) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(
        Path::new("/proc/self/fd")
            .join(dir.as_raw_fd().to_string())
            .join(name),
    )
}
