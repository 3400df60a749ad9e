//! ARP announcements (RFC 5227, 2.3): neighbours learn the address before they ask, and a client that tried too early
//! does not wait out its own ARP timeout.

use core::net::Ipv4Addr;

use crate::unikernel::Machine;

/// ANNOUNCE_NUM of RFC 5227.
const COUNT: u8 = 2;
/// ANNOUNCE_INTERVAL of RFC 5227.
const INTERVAL_US: u64 = 2_000_000;

/// The announcements that are still to be sent.
#[derive(Default)]
pub struct Announcements {
    ip: Option<Ipv4Addr>,
    left: u8,
    next_us: u64,
}

impl Announcements {
    /// Announces an address from now on.
    pub fn begin(&mut self, ip: Ipv4Addr) {
        *self = Self {
            ip: Some(ip),
            left: COUNT,
            next_us: 0,
        };
    }

    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// When the next one is due.
    pub fn deadline_us(&self) -> Option<u64> {
        (self.left > 0).then_some(self.next_us)
    }

    pub fn send_due(&mut self, machine: &mut impl Machine, now_us: u64) {
        let (Some(ip), Some(link)) = (self.ip, machine.link()) else {
            return;
        };
        if self.left == 0 || now_us < self.next_us || !machine.can_send() {
            return;
        }
        machine.send(&announcement(link.mac, ip));
        self.left -= 1;
        self.next_us = now_us + INTERVAL_US;
    }
}

/// An ARP request for one's own address, padded to Ethernet's minimum.
fn announcement(mac: [u8; 6], ip: Ipv4Addr) -> [u8; 60] {
    let mut frame = [0; 60];
    let parts: [&[u8]; 8] = [
        &[0xff; 6],
        &mac,
        &[0x08, 0x06],
        // Ethernet, IPv4, their lengths, request.
        &[0, 1, 0x08, 0, 6, 4, 0, 1],
        &mac,
        &ip.octets(),
        &[0; 6],
        &ip.octets(),
    ];
    let mut at = 0;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}
