//! Real tap interfaces in a network namespace of the test's own: by name and by descriptor, with the kernel's own ping.

mod support;

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;
use support::{abis, guest, start};

const TUNSETIFF: u32 = 0x4004_54ca;
const TUNSETPERSIST: u32 = 0x4004_54cb;
const SIOCSIFFLAGS: u32 = 0x8914;
const SIOCSIFADDR: u32 = 0x8916;
const SIOCSIFNETMASK: u32 = 0x891c;
const SIOCSIFMTU: u32 = 0x8922;

#[repr(C, align(8))]
struct Request {
    name: [u8; 16],
    value: [u8; 24],
}

fn call(fd: &impl AsRawFd, request: u32, name: &str, value: &[u8]) -> io::Result<()> {
    let mut argument = Request {
        name: [0; 16],
        value: [0; 24],
    };
    argument.name[..name.len()].copy_from_slice(name.as_bytes());
    argument.value[..value.len()].copy_from_slice(value);
    // SAFETY: all these requests take a struct ifreq.
    match unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &raw mut argument) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn socket(kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor that nobody else owns.
    match unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_CLOEXEC, protocol) } {
        // SAFETY: as said.
        fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a persistent tap with 10.0.0.1/24 and brings it up. It goes with the namespace.
fn make_tap(name: &str, flags: i32, mtu: i32) -> io::Result<OwnedFd> {
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    call(
        &tun,
        TUNSETIFF,
        name,
        &((libc::IFF_TAP | flags) as u16).to_ne_bytes(),
    )?;
    // SAFETY: takes a number.
    unsafe { libc::ioctl(tun.as_raw_fd(), TUNSETPERSIST as _, 1) };
    let control = socket(libc::SOCK_DGRAM, 0)?;
    let address = |ip: [u8; 4]| [&(libc::AF_INET as u16).to_ne_bytes()[..], &[0, 0], &ip].concat();
    call(&control, SIOCSIFADDR, name, &address([10, 0, 0, 1]))?;
    call(&control, SIOCSIFNETMASK, name, &address([255, 255, 255, 0]))?;
    call(&control, SIOCSIFMTU, name, &mtu.to_ne_bytes())?;
    call(&control, SIOCSIFFLAGS, name, &(libc::IFF_UP as u16).to_ne_bytes())?;
    Ok(tun.into())
}

/// Runs `body` in a new network namespace, or notes the skip.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let entered = std::thread::spawn(move || {
        // SAFETY: moves this thread alone to a new network namespace, which ends with it.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        drop(make_tap("ttap0", libc::IFF_NO_PI, 1500)?);
        body();
        Ok(())
    });
    if let Err(error) = entered.join().expect("the test's thread") {
        support::skip("tap", "net-admin", &error.to_string());
    }
}

/// Pings 10.0.0.2 by the kernel's own ARP and IP. The first is sent again where nothing comes back: until the guest has attached, the interface has
/// no carrier and loses what is sent. Each later one is sent once and waited for: the guest counts what it answers, and ends.
fn ping(count: u16) {
    let icmp = socket(libc::SOCK_RAW, libc::IPPROTO_ICMP).expect("a raw socket");
    let icmp = std::net::UdpSocket::from(icmp);
    for sequence in 1..=count {
        let mut message = [
            &[8, 0, 0, 0, 0x77, 0x77][..],
            &sequence.to_be_bytes(),
            &[0xab; 100],
        ]
        .concat();
        let sum = support::frames::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let (times, patience) = if sequence == 1 { (30, 300) } else { (1, 9000) };
        icmp.set_read_timeout(Some(Duration::from_millis(patience)))
            .expect("a timeout");
        assert!(
            (0..times).any(|_| echoed(&icmp, &message)),
            "no echo of ping {sequence}"
        );
    }
}

fn echoed(icmp: &std::net::UdpSocket, message: &[u8]) -> bool {
    icmp.send_to(message, (Ipv4Addr::new(10, 0, 0, 2), 0))
        .expect("sent");
    let mut answer = [0; 2048];
    while let Ok(length) = icmp.recv(&mut answer) {
        // The kernel's own messages ("unreachable") come here too; an IPv4 header is in front.
        if answer[20] == 0 && answer[24..28] == message[4..8] {
            assert_eq!(answer[28..length], message[8..]);
            return true;
        }
    }
    false
}

#[test]
fn a_tap_is_attached_by_name_and_pings_are_answered() {
    in_namespace(|| {
        for abi in abis("hvt") {
            let kernel = guest("net", abi);
            let running = start(
                &[
                    "--net:service0=ttap0",
                    kernel.to_str().expect("a path"),
                    "limit=50",
                ],
                &[],
            );
            ping(50);
            running.end().expect(0, "SUCCESS");
        }
    });
}

#[test]
fn a_taps_mtu_is_the_guests() {
    in_namespace(|| {
        let tun = make_tap("ttap1", libc::IFF_NO_PI, 9000).expect("a tap");
        let by_fd = format!("--net:service0=@{}", tun.as_raw_fd());
        for abi in abis("hvt") {
            let kernel = guest("net_mtu", abi);
            let kernel = kernel.to_str().expect("a path");
            start(&[&by_fd, kernel], &[&tun]).end().expect(0, "MTU is 9000\n");
            start(&[&by_fd, "--net-mtu:service0=1400", kernel], &[&tun])
                .end()
                .expect(0, "MTU is 1400\n");
        }
        drop(tun);
        for abi in abis("hvt") {
            let kernel = guest("net_mtu", abi);
            start(&["--net:service0=ttap1", kernel.to_str().expect("a path")], &[])
                .end()
                .expect(0, "MTU is 9000\n");
        }
    });
}

#[test]
fn taps_that_would_not_carry_plain_frames_are_refused() {
    in_namespace(|| {
        let kernel = guest("net_mtu", "spt");
        let kernel = kernel.to_str().expect("a path");
        let with_header = make_tap("ttap2", libc::IFF_NO_PI | libc::IFF_VNET_HDR, 1500).expect("a tap");
        let option = format!("--net:service0=@{}", with_header.as_raw_fd());
        start(&[&option, kernel], &[&with_header])
            .end()
            .expect(1, "")
            .says("Not a tap without IFF_VNET_HDR");
        // An interface that is in use, and one that is down.
        let used = make_tap("ttap3", libc::IFF_NO_PI, 1500).expect("a tap");
        start(&["--net:service0=ttap3", kernel], &[])
            .end()
            .expect(1, "")
            .says("Could not attach interface: ttap3: ")
            .says("esource busy");
        drop(used);
        let control = socket(libc::SOCK_DGRAM, 0).expect("a socket");
        call(&control, SIOCSIFFLAGS, "ttap3", &[0, 0]).expect("down");
        start(&["--net:service0=ttap3", kernel], &[])
            .end()
            .expect(1, "")
            .says("Could not attach interface: ttap3: Network is down");
    });
}
