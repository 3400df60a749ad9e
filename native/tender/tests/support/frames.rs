//! The other end of a guest's network device: ARP and ping, frame by frame.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// One end of a pair of datagram sockets, the guest has the other.
pub struct Peer {
    socket: UnixDatagram,
    guest: [u8; 4],
    guest_mac: [u8; 6],
}

impl Peer {
    pub fn new(socket: UnixDatagram, guest: [u8; 4]) -> Peer {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        Peer {
            socket,
            guest,
            guest_mac: [0xff; 6],
        }
    }

    fn host(&self) -> [u8; 4] {
        [self.guest[0], self.guest[1], self.guest[2], 1]
    }

    /// Asks who has the guest's address; its answer is its MAC address.
    pub fn resolve(&mut self) -> [u8; 6] {
        let mut frame = [
            &[0xff; 6][..],
            &HOST,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &HOST,
            &self.host(),
        ]
        .concat();
        frame.extend([0; 6]);
        frame.extend(self.guest);
        let answer = self.exchange(&frame);
        assert_eq!(answer[..6], HOST);
        assert_eq!(answer[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(answer[28..32], self.guest);
        assert_eq!(answer[6..12], answer[22..28]);
        self.guest_mac.copy_from_slice(&answer[6..12]);
        self.guest_mac
    }

    /// One ping with a payload of `size` bytes, whose echo must be the same.
    pub fn ping(&mut self, sequence: u16, size: usize) {
        let payload: Vec<u8> = (0..size).map(|index| (index as u16 ^ sequence) as u8).collect();
        let mut icmp = [&[8, 0, 0, 0, 0x12, 0x34][..], &sequence.to_be_bytes(), &payload].concat();
        let sum = checksum(&icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let length = (20 + icmp.len() as u16).to_be_bytes();
        let mut ip = [
            &[0x45, 0][..],
            &length,
            &[0, 0, 0, 0, 64, 1, 0, 0],
            &self.host(),
            &self.guest,
        ]
        .concat();
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let frame = [&self.guest_mac[..], &HOST, &[8, 0], &ip, &icmp].concat();
        let answer = self.exchange(&frame);
        assert_eq!(answer.len(), frame.len());
        assert_eq!(answer[26..34], [self.guest, self.host()].concat());
        assert_eq!((answer[34], checksum(&answer[34..])), (0, 0));
        assert_eq!(answer[38..], frame[38..]);
    }

    /// Sends a frame that must not be answered.
    pub fn send(&self, frame: &[u8]) {
        self.socket.send(frame).expect("sent");
    }

    fn exchange(&self, frame: &[u8]) -> Vec<u8> {
        self.send(frame);
        let mut answer = vec![0; 65536];
        let length = self.socket.recv(&mut answer).expect("an answer");
        answer.truncate(length);
        answer
    }
}

pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
