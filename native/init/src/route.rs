//! A default route without a gateway: whatever is sent, the host's end of the link takes.

use core::ffi::CStr;
use core::ptr;

use crate::system::{Errno, check};

/// The kernel's `struct rtentry`.
#[repr(C)]
struct Route {
    _pad1: libc::c_ulong,
    destination: libc::sockaddr,
    gateway: libc::sockaddr,
    mask: libc::sockaddr,
    flags: libc::c_ushort,
    _pad2: libc::c_short,
    _pad3: libc::c_ulong,
    _pad4: *const libc::c_void,
    metric: libc::c_short,
    device: *const libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    round_trip: libc::c_ushort,
}

const UP: libc::c_ushort = 1;
const ADD_ROUTE: u32 = 0x890b;

/// Adds it. One that is there already is as good.
///
/// # Errors
/// The kernel's.
pub fn add_default(device: &CStr) -> Result<(), Errno> {
    let any = libc::sockaddr {
        sa_family: libc::AF_INET as libc::sa_family_t,
        sa_data: [0; 14],
    };
    let route = Route {
        _pad1: 0,
        destination: any,
        gateway: any,
        mask: any,
        flags: UP,
        _pad2: 0,
        _pad3: 0,
        _pad4: ptr::null(),
        metric: 0,
        device: device.as_ptr(),
        mtu: 0,
        window: 0,
        round_trip: 0,
    };
    // SAFETY: the kernel reads the route and the device's name, which live through the call.
    let added = unsafe {
        let socket = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0,
        ))?;
        let added = check(libc::ioctl(socket, ADD_ROUTE as _, &raw const route));
        libc::close(socket);
        added
    };
    match added {
        Ok(_) | Err(Errno(libc::EEXIST)) => Ok(()),
        Err(why) => Err(why),
    }
}
