//! Tap interfaces: opened by name, or recognised by a descriptor.

use super::net::Opened;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETOFFLOAD: u32 = 0x4004_54d0;
const TUNGETIFF: u32 = 0x8004_54d2;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCETHTOOL: u32 = 0x8946;
const ETHTOOL_SGSO: u32 = 0x24;
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ifreq`: the name, then a union of 24 bytes.
#[repr(C, align(8))]
struct InterfaceRequest {
    name: [u8; 16],
    union: [u8; 24],
}

impl InterfaceRequest {
    /// `None` where the name is empty, too long (15 is the most) or holds a NUL.
    fn new(name: &[u8]) -> Option<InterfaceRequest> {
        let mut request = InterfaceRequest {
            name: [0; 16],
            union: [0; 24],
        };
        if name.is_empty() || name.len() > 15 || name.contains(&0) {
            return None;
        }
        request.name[..name.len()].copy_from_slice(name);
        Some(request)
    }

    fn flags(&self) -> i32 {
        i32::from(u16::from_ne_bytes([self.union[0], self.union[1]]))
    }

    fn set_flags(&mut self, flags: i32) {
        self.union[..2].copy_from_slice(&(flags as u16).to_ne_bytes());
    }

    fn number(&self) -> i32 {
        i32::from_ne_bytes([self.union[0], self.union[1], self.union[2], self.union[3]])
    }

    fn call(&mut self, fd: RawFd, request: u32) -> io::Result<()> {
        // SAFETY: every request used here takes a `struct ifreq`, which this is, and writes no more than one.
        match unsafe { libc::ioctl(fd, request as _, &raw mut *self) } {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Attaches to an existing tap that is up.
pub fn open(name: &str) -> io::Result<Opened> {
    let mut request =
        InterfaceRequest::new(name.as_bytes()).ok_or(io::Error::from_raw_os_error(libc::ENODEV))?;
    let socket = control_socket()?;
    // Asked first: TUNSETIFF would make an interface that is not there.
    request.call(socket.as_raw_fd(), SIOCGIFFLAGS)?;
    if request.flags() & libc::IFF_UP == 0 {
        return Err(io::Error::from_raw_os_error(libc::ENETDOWN));
    }
    let tun = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    request.set_flags(libc::IFF_TAP | libc::IFF_NO_PI);
    request.call(tun.as_raw_fd(), TUNSETIFF)?;
    let mtu = mtu(socket.as_raw_fd(), name.as_bytes());
    turn_offloads_off(socket.as_raw_fd(), tun.as_raw_fd(), name.as_bytes());
    Ok(Opened {
        fd: tun.into_raw_fd(),
        mtu,
    })
}

/// What the kernel says of the tap that a descriptor is attached to.
fn interface_of(fd: RawFd) -> io::Result<InterfaceRequest> {
    let mut request = InterfaceRequest {
        name: [0; 16],
        union: [0; 24],
    };
    request.call(fd, TUNGETIFF)?;
    Ok(request)
}

/// Checks that a descriptor is an attached tap that carries frames. Whether it has IFF_NO_PI cannot be asked: in this
/// answer the bit means that no socket filter is attached.
pub fn check_inherited(fd: RawFd) -> Result<(), String> {
    let flags = interface_of(fd)
        .map_err(|_| "Not an attached tap".to_string())?
        .flags();
    if flags & libc::IFF_TAP == 0 || flags & libc::IFF_VNET_HDR != 0 {
        return Err("Not a tap without IFF_VNET_HDR".into());
    }
    Ok(())
}

/// The MTU of the interface of a tap's descriptor, where that can be asked: the interface may be in another network
/// namespace. Takes a socket, which a confined tender may not have: only for who was not told the MTU.
pub fn inherited_mtu(fd: RawFd) -> Option<u16> {
    let request = interface_of(fd).ok()?;
    let length = request.name.iter().position(|&byte| byte == 0).unwrap_or(0);
    let socket = control_socket().ok()?;
    mtu(socket.as_raw_fd(), &request.name[..length])
}

fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor; no memory is passed.
    match unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) } {
        // SAFETY: a new descriptor that nothing else owns.
        fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn mtu(socket: RawFd, name: &[u8]) -> Option<u16> {
    let mut request = InterfaceRequest::new(name)?;
    request.call(socket, SIOCGIFMTU).ok()?;
    u16::try_from(request.number()).ok()
}

/// A guest knows nothing of segments larger than its MTU or of checksums left to the device. Best effort, as in
/// Solo5: an unprivileged tender may not, and the interface's owner may have done it already.
fn turn_offloads_off(socket: RawFd, tun: RawFd, name: &[u8]) {
    // SAFETY: TUNSETOFFLOAD takes a number, not a pointer.
    unsafe { libc::ioctl(tun, TUNSETOFFLOAD as _, 0) };
    for command in [ETHTOOL_SGRO, ETHTOOL_SGSO] {
        // struct ethtool_value: command, then 0 for "off".
        let mut value = [command, 0_u32];
        let Some(mut request) = InterfaceRequest::new(name) else {
            return;
        };
        let pointer = value.as_mut_ptr() as usize;
        request.union[..size_of::<usize>()].copy_from_slice(&pointer.to_ne_bytes());
        let _ = request.call(socket, SIOCETHTOOL);
    }
}
