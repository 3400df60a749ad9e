//! What the guest sleeps on: an epoll of its network devices and one timer.

use crate::devices::Device;
use crate::failure::{Failure, Result};
use std::os::fd::RawFd;

/// The timer's mark among the epoll's events; devices have their handle.
const TIMER_EVENT: u64 = 0xffff_fffe;

/// Descriptors for the guest; they stay open.
pub struct Wait {
    pub epoll: RawFd,
    pub timer: RawFd,
}

pub fn set_up(devices: &[Device]) -> Result<Wait> {
    // SAFETY: both calls make a descriptor; no memory is passed.
    let (epoll, timer) = unsafe {
        (
            libc::epoll_create1(0),
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK),
        )
    };
    if epoll < 0 || timer < 0 {
        return Err(Failure::last("Could not make an epoll and a timer"));
    }
    add(epoll, timer, TIMER_EVENT)?;
    for (index, device) in devices.iter().enumerate() {
        if let Device::Net(net) = device {
            add(epoll, net.fd, 1 + index as u64)?;
        }
    }
    Ok(Wait { epoll, timer })
}

fn add(epoll: RawFd, fd: RawFd, mark: u64) -> Result<()> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: mark,
    };
    // SAFETY: `event` is one event, read by the call.
    match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
        0 => Ok(()),
        _ => Err(Failure::last(format!("Could not wait for file descriptor {fd}"))),
    }
}
