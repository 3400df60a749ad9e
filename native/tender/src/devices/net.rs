//! Network devices: a tap interface by name, or a descriptor that carries one frame a read and write.

use super::{Net, file_kind, inherited_fd, stat, tap};
use crate::failure::{Failure, Result, reason};
use std::io;
use std::os::fd::RawFd;

const DEFAULT_MTU: u16 = 1500;
/// The smallest MTU of IPv4 (RFC 791).
const MIN_MTU: u16 = 68;

/// A network descriptor and the MTU that its interface has, where it says one.
pub struct Opened {
    pub fd: RawFd,
    pub mtu: Option<u16>,
}

/// Attaches to the tap named `spec`, or takes the descriptor of `@N`: a tap's (made with IFF_NO_PI and without
/// IFF_VNET_HDR) or a datagram or seqpacket socket. Either way the descriptor becomes non-blocking.
pub fn open(spec: &str) -> Result<Opened> {
    let refused = |why: &str| Failure::new(format!("Could not attach interface: {spec}: {why}"));
    let Some(number) = spec.strip_prefix('@') else {
        return tap::open(spec).map_err(|error| refused(&reason(&error)));
    };
    let fd = inherited_fd(number)?;
    let stat = stat(fd).map_err(|error| refused(&reason(&error)))?;
    match file_kind(&stat) {
        libc::S_IFSOCK if keeps_frames(fd) => {}
        libc::S_IFSOCK => return Err(refused("Not a datagram or seqpacket socket")),
        libc::S_IFCHR => tap::check_inherited(fd).map_err(|why| refused(&why))?,
        _ => return Err(refused("Neither a tap nor a socket")),
    }
    set_non_blocking(fd).map_err(|error| refused(&reason(&error)))?;
    Ok(Opened { fd, mtu: None })
}

/// The device: address and MTU as asked for, else the interface's MTU, else 1500, and a random local address.
pub fn attach(opened: &Opened, mac: Option<[u8; 6]>, mtu: Option<u16>) -> Result<Net> {
    let mac = match mac {
        Some(mac) => mac,
        None => random_mac()?,
    };
    Ok(Net {
        fd: opened.fd,
        mac,
        mtu: mtu
            .or(opened.mtu)
            .or_else(|| tap::inherited_mtu(opened.fd))
            .unwrap_or(DEFAULT_MTU),
    })
}

/// Parses `--net-mac`: six pairs of hexadecimal digits between colons.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Parses `--net-mtu`: 68 to 65535.
pub fn mtu(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&mtu| digits && mtu >= MIN_MTU)
}

fn random_mac() -> Result<[u8; 6]> {
    let mut mac = [0_u8; 6];
    // By number: the standard library names getrandom weakly, and a static program may end up without the function.
    // SAFETY: the buffer and its length agree.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, mac.as_mut_ptr(), mac.len(), 0) };
    if got != mac.len() as libc::c_long {
        return Err(Failure::last("Could not make a random MAC address"));
    }
    mac[0] = (mac[0] & 0xfe) | 2; // a single station's, locally administered
    Ok(mac)
}

fn keeps_frames(fd: RawFd) -> bool {
    let mut kind: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `kind` is room for the int that SO_TYPE is, and `length` says so.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut kind).cast(),
            &raw mut length,
        )
    };
    result == 0 && (kind == libc::SOCK_DGRAM || kind == libc::SOCK_SEQPACKET)
}

fn set_non_blocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: reads and writes the open file's flags; no memory is passed.
    let result = unsafe {
        match libc::fcntl(fd, libc::F_GETFL) {
            flags if flags >= 0 => libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK),
            _ => -1,
        }
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_six_hexadecimal_pairs() {
        assert_eq!(mac("02:00:fF:10:9a:01"), Some([2, 0, 255, 16, 0x9a, 1]));
        for bad in [
            "",
            "02:00:ff:10:9a",
            "02:00:ff:10:9a:01:",
            "2:0:ff:10:9a:1",
            "+2:00:ff:10:9a:01",
            "02-00-ff-10-9a-01",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_random_address_is_local_and_not_a_group() {
        assert_eq!(random_mac().unwrap()[0] & 3, 2);
    }

    #[test]
    fn mtus_are_68_to_65535() {
        assert_eq!((mtu("68"), mtu("65535")), (Some(68), Some(65535)));
        assert_eq!(
            (mtu("67"), mtu("65536"), mtu("+100"), mtu("")),
            (None, None, None, None)
        );
    }
}
