//! Changes to one link (network interface): up, MTU, addresses.

use super::netlink::{Message, Socket};
use crate::error::{Context, Error, Result};
use rustix::io::Errno;
use std::ffi::CString;
use std::net::IpAddr;

/// `IFLA_INET6_ADDR_GEN_MODE` and its value for "no link-local address".
const ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const LOOPBACK_INDEX: u32 = 1;

pub(super) fn open() -> Result<Socket> {
    Socket::open().or_system(|| "cannot open a route netlink socket")
}

/// An interface's number in this namespace.
pub(super) fn index(name: &str) -> Result<u32> {
    check_name(name)?;
    let text = CString::new(name).map_err(|_| Error::step("an interface name holds a NUL byte"))?;
    // SAFETY: `text` is a NUL-terminated string that outlives the call.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(Error::system(
            format!("no network interface {name}"),
            std::io::Error::last_os_error(),
        )),
        index => Ok(index),
    }
}

/// What the kernel takes as an interface name: 1 to 15 bytes, no slash, no space, not `.` or `..`.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::bad_request(format!(
        "{name:?} is not an interface name: 1 to 15 letters, digits and dashes"
    )))
}

/// Brings the namespace's loopback interface up; the kernel adds 127.0.0.1 and ::1.
pub fn loopback_up() -> Result<()> {
    let message = Message::new(libc::RTM_NEWLINK, 0).fixed(&info(LOOPBACK_INDEX, true));
    open()?
        .request(message)
        .or_system(|| "cannot bring up the loopback interface")
}

/// Sets the MTU and brings a link up without a link-local address: the kernel's own stack stays silent on it, so that
/// a guest never meets a neighbour that is not there.
pub(super) fn up_silent(socket: &mut Socket, name: &str, index: u32, mtu: u32) -> Result<()> {
    // Two messages: within one the kernel sets the flags, and with them the address, first.
    let silence = Message::new(libc::RTM_NEWLINK, 0)
        .fixed(&info(index, false))
        .nest(libc::IFLA_AF_SPEC, |families| {
            families.nest(libc::AF_INET6 as u16, |inet6| {
                inet6.attribute(ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])
            })
        });
    match socket.request(silence) {
        // Where IPv6 is compiled out or disabled there is nothing to keep silent.
        Ok(()) | Err(Errno::AFNOSUPPORT | Errno::OPNOTSUPP | Errno::INVAL) => {}
        Err(error) => return Err(Error::system(format!("cannot keep IPv6 off {name}"), error)),
    }
    let up = Message::new(libc::RTM_NEWLINK, 0)
        .fixed(&info(index, true))
        .attribute(libc::IFLA_MTU, &mtu.to_ne_bytes());
    socket
        .request(up)
        .or_system(|| format!("cannot bring up {name} with an MTU of {mtu} bytes"))
}

/// Removes an interface; one that has just gone is no error.
pub(super) fn delete(socket: &mut Socket, name: &str, index: u32) -> Result<()> {
    match socket.request(Message::new(libc::RTM_DELLINK, 0).fixed(&info(index, false))) {
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(error) => Err(Error::system(
            format!("cannot remove the interface {name}"),
            error,
        )),
    }
}

/// Makes a veth pair whose near end has this name.
pub(super) fn add_veth(socket: &mut Socket, name: &str) -> Result<()> {
    check_name(name)?;
    let message = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL)
        .fixed(&info(0, false))
        .text(libc::IFLA_IFNAME, name)
        .nest(libc::IFLA_LINKINFO, |link| {
            link.attribute(libc::IFLA_INFO_KIND, b"veth")
        });
    socket
        .request(message)
        .or_system(|| format!("cannot make the interface {name}"))
}

/// Gives an interface of this namespace an address.
pub fn give_address(name: &str, address: IpAddr, prefix: u8) -> Result<()> {
    add_address(&mut open()?, index(name)?, address, prefix)
}

/// Gives an interface an address.
pub(super) fn add_address(socket: &mut Socket, index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let (family, bytes) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let mut fixed = vec![family as u8, prefix, libc::IFA_F_NODAD as u8, 0];
    fixed.extend_from_slice(&index.to_ne_bytes());
    let message = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE)
        .fixed(&fixed)
        .attribute(libc::IFA_LOCAL, &bytes)
        .attribute(libc::IFA_ADDRESS, &bytes);
    socket
        .request(message)
        .or_system(|| format!("cannot add the address {address}/{prefix}"))
}

/// `struct ifinfomsg`: family and padding, device type, index, flags, mask of the flags that change.
fn info(index: u32, up: bool) -> Vec<u8> {
    let flag = if up { libc::IFF_UP as u32 } else { 0 };
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&index.to_ne_bytes());
    bytes.extend_from_slice(&flag.to_ne_bytes());
    bytes.extend_from_slice(&flag.to_ne_bytes());
    bytes
}
