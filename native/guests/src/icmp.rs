//! A host that answers ARP requests and ICMP echo for one IPv4 address.

use crate::net::Net;

const ETHERNET: usize = 14;
const IPV4: usize = 20;

/// Turns a frame that asks `address` into its answer, in place. `Some(true)` for an answered echo, `Some(false)` for an
/// answered ARP request, `None` for a frame to be ignored.
pub fn answer(net: &Net, address: [u8; 4], frame: &mut [u8]) -> Option<bool> {
    let kind = match frame.get(12..14)? {
        [8, 6] => arp(net, address, frame)?,
        [8, 0] => echo(address, frame)?,
        _ => return None,
    };
    let (to, from) = frame.split_at_mut(6);
    to.copy_from_slice(&from[..6]);
    from[..6].copy_from_slice(&net.mac);
    Some(kind)
}

fn arp(net: &Net, address: [u8; 4], frame: &mut [u8]) -> Option<bool> {
    let packet = frame.get_mut(ETHERNET..ETHERNET + 28)?;
    // Ethernet, IPv4, a request for us.
    if packet[..8] != [0, 1, 8, 0, 6, 4, 0, 1] || packet[24..28] != address {
        return None;
    }
    packet[7] = 2;
    packet.copy_within(8..18, 18);
    packet[8..14].copy_from_slice(&net.mac);
    packet[14..18].copy_from_slice(&address);
    Some(false)
}

fn echo(address: [u8; 4], frame: &mut [u8]) -> Option<bool> {
    let packet = frame.get_mut(ETHERNET..)?;
    let header = packet.get(..IPV4)?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // No options, ICMP, to us.
    if header[0] != 0x45 || header[9] != 1 || header[16..20] != address {
        return None;
    }
    let message = packet.get_mut(IPV4..total)?;
    if message.len() < 8 || message[0] != 8 || message[1] != 0 || checksum(message) != 0 {
        return None;
    }
    message[0] = 0;
    message[2..4].fill(0);
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let (from, to) = packet[12..20].split_at_mut(4);
    from.swap_with_slice(to); // leaves the header's checksum as it is
    Some(true)
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
