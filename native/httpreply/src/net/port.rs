//! A machine's network device as smoltcp wants it.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::unikernel::{Link, Machine};

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Longest frame that is sent or received; a larger MTU is used up to here.
const FRAME_LIMIT: usize = 1514;

/// The machine and the two frames that are in work.
pub struct Port<M> {
    machine: M,
    received: [u8; FRAME_LIMIT],
    sent: [u8; FRAME_LIMIT],
    mtu: usize,
}

impl<M: Machine> Port<M> {
    pub fn new(machine: M, link: Link) -> Self {
        let mtu = (link.mtu + HEADER).min(FRAME_LIMIT);
        Self {
            machine,
            received: [0; FRAME_LIMIT],
            sent: [0; FRAME_LIMIT],
            mtu,
        }
    }

    pub fn machine(&mut self) -> &mut M {
        &mut self.machine
    }
}

impl<M: Machine> Device for Port<M> {
    type RxToken<'a>
        = Received<'a>
    where
        M: 'a;
    type TxToken<'a>
        = Sending<'a, M>
    where
        M: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sending<'_, M>)> {
        // A frame is taken only when an answer to it could be sent.
        if !self.machine.can_send() {
            return None;
        }
        let length = self.machine.receive(&mut self.received)?;
        Some((
            Received(&self.received[..length]),
            Sending {
                machine: &mut self.machine,
                frame: &mut self.sent,
            },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_, M>> {
        let can_send = self.machine.can_send();
        can_send.then_some(Sending {
            machine: &mut self.machine,
            frame: &mut self.sent,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub struct Sending<'a, M> {
    machine: &'a mut M,
    frame: &'a mut [u8; FRAME_LIMIT],
}

impl<M: Machine> TxToken for Sending<'_, M> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let frame = &mut self.frame[..length];
        let result = write(frame);
        self.machine.send(frame);
        result
    }
}
