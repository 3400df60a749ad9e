//! The guest's end of the sandbox's network: a tap that lives as long as its fd, or one that its owner opens by name, and the redirect
//! that gives it the frames of the namespace's own interface.

use super::{link, redirect};
use crate::error::{Context, Error, Result};
use crate::plan::{Owner, Tap};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

/// RFC 791's smallest and tun's largest; a value outside is a bug of the plan.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65521;
/// `struct ifreq`: the name, then a union of which only the flags are used here.
const IFREQ_BYTES: usize = 40;

/// Makes a tap in the calling thread's network namespace, up, with an MTU in bytes, without packet information. Without an owner nothing but
/// the fd, which is non-blocking and closed on exec, keeps it alive. With `redirect`, frames that arrive at
/// that interface leave by the tap and the other way round, before the namespace's own stack sees them.
/// A tap of that name, or a redirect at that interface, that is there already is an error.
pub fn create(wanted: &Tap) -> Result<OwnedFd> {
    let Tap { name, mtu, .. } = wanted;
    link::check_name(name)?;
    if !MTU_RANGE.contains(mtu) {
        return Err(Error::bad_request(format!(
            "an MTU of {mtu} bytes is outside {}–{}",
            MTU_RANGE.start(),
            MTU_RANGE.end()
        )));
    }
    let fd = attach(wanted)?;
    let mut socket = link::open()?;
    let tap = link::index(name)?;
    link::up_silent(&mut socket, name, tap, *mtu)?;
    if let Some(other) = &wanted.redirect {
        redirect::both_ways(&mut socket, (name, tap), (other, link::index(other)?))?;
    }
    // Last, so that a tap that could not be finished goes with its descriptor.
    if let Some(owner) = wanted.owner {
        give(&fd, name, owner)?;
    }
    Ok(fd)
}

/// Removes a tap that was given to an owner. Nothing to do where it is gone.
pub fn remove(name: &str) -> Result<()> {
    let Ok(index) = link::index(name) else {
        return Ok(());
    };
    link::delete(&mut link::open()?, name, index)
}

/// Takes the redirect from an interface. Nothing to do where the interface is gone, has no redirect, or has filters
/// of somebody else. The tap's own half goes with the tap.
pub fn remove_redirect(interface: &str) -> Result<()> {
    redirect::remove(interface)
}

/// Lets one user and group without privilege open the tap by its name, and keeps it there for them.
fn give(fd: &OwnedFd, name: &str, owner: Owner) -> Result<()> {
    for (request, value) in [
        (libc::TUNSETOWNER, owner.uid),
        (libc::TUNSETGROUP, owner.gid),
        (libc::TUNSETPERSIST, 1),
    ] {
        // SAFETY: these three take a number in place of a pointer.
        let outcome =
            unsafe { libc::ioctl(fd.as_raw_fd(), request as libc::Ioctl, libc::c_ulong::from(value)) };
        if outcome < 0 {
            return Err(Error::system(
                format!("cannot give the tap {name} to user {}", owner.uid),
                std::io::Error::last_os_error(),
            ));
        }
    }
    Ok(())
}

/// Opens the tun device and makes the tap.
fn attach(wanted: &Tap) -> Result<OwnedFd> {
    let name = &wanted.name;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty()).or_system(
        || "cannot open /dev/net/tun, without which a guest has no network; load the tun module",
    )?;
    let mut request = [0u8; IFREQ_BYTES];
    request[..name.len()].copy_from_slice(name.as_bytes());
    // TUN_EXCL: a tap that somebody else made is not attached to.
    let header = if wanted.vnet_header { libc::IFF_VNET_HDR } else { 0 };
    let kind = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL | header) as u16;
    request[16..18].copy_from_slice(&kind.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, for which `request` is large enough.
    let outcome = unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETIFF as libc::Ioctl,
            request.as_mut_ptr(),
        )
    };
    if outcome < 0 {
        return Err(Error::system(
            format!("cannot make the tap {name}"),
            std::io::Error::last_os_error(),
        ));
    }
    Ok(fd)
}
