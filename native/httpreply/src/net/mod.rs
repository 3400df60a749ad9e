//! The TCP/IP stack of the unikernels: smoltcp over a [`Machine`]'s frames, with IPv4, ARP, ICMP echo, DHCP and a fixed
//! number of TCP sockets, of which one listens.

mod announce;
mod peer;
mod port;

use core::mem::MaybeUninit;
use core::net::Ipv4Addr;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet, SocketStorage,
};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpOption, EthernetAddress, IpCidr, Ipv4Cidr};

use crate::boot::{Address, Boot};
use crate::http::Connection;
use crate::page::About;
use crate::unikernel::{Link, Machine};
use announce::Announcements;
use peer::{Deeds, Peer};
use port::Port;

/// TCP connections served at once. A further one is refused, unless one that is only kept alive can make room.
pub const SOCKETS: usize = u64::BITS as usize;
/// Frames taken in before connections get their turn, so that a flood cannot starve them.
const FRAMES_AT_ONCE: usize = 64;
const RECEIVE_BYTES: usize = 2048;
const SEND_BYTES: usize = 2048;

/// DHCP option 12, the client's name (RFC 2132, 3.14).
const DHCP_HOST_NAME: u8 = 12;

/// All memory of the stack. About 0.6 MiB, hence a static: `static STORAGE: Once<Storage>`. What does not begin as zeros is
/// uninitialised, so that the static lies in `.bss` and takes no room in the file.
pub struct Storage {
    sockets: MaybeUninit<[SocketStorage<'static>; SOCKETS + 1]>,
    receive: [[u8; RECEIVE_BYTES]; SOCKETS],
    send: [[u8; SEND_BYTES]; SOCKETS],
    connections: [Connection; SOCKETS],
    hostname: [u8; crate::boot::HOSTNAME_LIMIT],
    options: MaybeUninit<[DhcpOption<'static>; 1]>,
}

impl Storage {
    pub const fn new() -> Self {
        Self {
            sockets: MaybeUninit::uninit(),
            receive: [[0; RECEIVE_BYTES]; SOCKETS],
            send: [[0; SEND_BYTES]; SOCKETS],
            connections: [const { Connection::new() }; SOCKETS],
            hostname: [0; crate::boot::HOSTNAME_LIMIT],
            options: MaybeUninit::uninit(),
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self::new()
    }
}

/// What a [`Stack::poll`] changed that people may want to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// DHCP gave this address.
    Address(Ipv4Addr),
    /// The DHCP lease ended, and with it the address.
    NoAddress,
}

/// The stack and the machine it runs on.
pub struct Stack<M: Machine> {
    port: Port<M>,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    peers: [Peer; SOCKETS],
    tcp_port: u16,
    announcements: Announcements,
    /// A bit for each of `peers` whose socket is in the set.
    in_use: u64,
    /// The socket that listens; none if all are taken.
    listener: Option<SocketHandle>,
}

impl<M: Machine> Stack<M> {
    /// A stack with the boot line's address, or one that asks for it. `seed` makes this boot's TCP sequence numbers.
    pub fn new(
        mut machine: M,
        link: Link,
        boot: &Boot<'_>,
        seed: u64,
        storage: &'static mut Storage,
    ) -> Self {
        let now = instant(machine.now_us());
        let mut config = Config::new(EthernetAddress(link.mac).into());
        config.random_seed = seed;
        let mut port = Port::new(machine, link);
        let mut interface = Interface::new(config, &mut port, now);
        let mut sockets = SocketSet::new(&mut storage.sockets.write([SocketStorage::EMPTY; SOCKETS + 1])[..]);
        let mut buffers = storage
            .receive
            .iter_mut()
            .zip(&mut storage.send)
            .zip(&mut storage.connections);
        let peers = core::array::from_fn(|_| {
            // As many buffers as peers: the arrays have one length.
            let ((receive, send), connection) = buffers.next().unwrap_or_else(|| unreachable!());
            let socket = tcp::Socket::new(
                tcp::SocketBuffer::new(receive.as_mut_slice()),
                tcp::SocketBuffer::new(send.as_mut_slice()),
            );
            Peer::new(socket, connection)
        });
        let mut announcements = Announcements::default();
        let dhcp = match boot.address {
            Address::None => None,
            Address::Static { ip, prefix } => {
                set_address(&mut interface, Some((Ipv4Cidr::new(ip, prefix), boot.gateway)));
                announcements.begin(ip);
                None
            }
            Address::Dhcp => {
                let mut socket = dhcpv4::Socket::new();
                if let Some(name) = boot.hostname {
                    let place = &mut storage.hostname[..name.len()];
                    place.copy_from_slice(name.as_bytes());
                    let option = DhcpOption {
                        kind: DHCP_HOST_NAME,
                        data: place,
                    };
                    socket.set_outgoing_options(storage.options.write([option]));
                }
                Some(sockets.add(socket))
            }
        };
        Self {
            port,
            interface,
            sockets,
            dhcp,
            peers,
            tcp_port: boot.port,
            announcements,
            in_use: 0,
            listener: None,
        }
    }

    pub fn machine(&mut self) -> &mut M {
        self.port.machine()
    }

    /// Handles all received frames and sends what is due.
    pub fn poll(&mut self, now_us: u64) -> Option<Change> {
        self.announcements.send_due(self.port.machine(), now_us);
        let now = instant(now_us);
        self.interface.poll_maintenance(now);
        self.keep_listening();
        for _ in 0..FRAMES_AT_ONCE {
            match self
                .interface
                .poll_ingress_single(now, &mut self.port, &mut self.sockets)
            {
                PollIngressSingleResult::None => break,
                PollIngressSingleResult::PacketProcessed => {}
                // Somebody may have taken the socket that listened.
                PollIngressSingleResult::SocketStateChanged => self.keep_listening(),
            }
        }
        while self.interface.poll_egress(now, &mut self.port, &mut self.sockets) != PollResult::None {}
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp?).poll();
        follow_dhcp(&mut self.interface, &mut self.announcements, event)
    }

    /// Lets every connection answer what has arrived on it. Returns whether there is more to send or to do at once.
    pub fn answer(&mut self, now_us: u64, about: &About<'_>, uptime_ms: u64) -> bool {
        let mut is_busy = false;
        for at in bits(self.in_use) {
            let peer = &mut self.peers[at];
            let Some(handle) = peer.handle().filter(|&handle| Some(handle) != self.listener) else {
                continue;
            };
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            match peer.advance(socket, now_us, about, uptime_ms) {
                Deeds::Nothing => {}
                Deeds::Something => is_busy = true,
                Deeds::Ended => {
                    peer.rest(&mut self.sockets);
                    self.in_use &= !(1 << at);
                }
            }
        }
        self.keep_listening();
        if self.listener.is_none() {
            is_busy |= self.make_room(now_us);
        }
        is_busy
    }

    /// Sees to it that one socket listens, if any is left.
    fn keep_listening(&mut self) {
        let is_listening = |handle| self.sockets.get::<tcp::Socket<'_>>(handle).state() == tcp::State::Listen;
        if self.listener.is_some_and(is_listening) {
            return;
        }
        self.listener = bits(!self.in_use).next().and_then(|at| {
            self.in_use |= 1 << at;
            self.peers[at].listen(&mut self.sockets, self.tcp_port)
        });
    }

    /// When to poll again if nothing is received before.
    pub fn deadline_us(&mut self, now_us: u64) -> Option<u64> {
        let stack = self
            .interface
            .poll_at(instant(now_us), &self.sockets)
            .map(|at| u64::try_from(at.total_micros()).unwrap_or(0));
        let open = || bits(self.in_use).map(|at| &self.peers[at]);
        let peers = open().filter_map(Peer::deadline_us).min();
        let is_full = self.listener.is_none();
        let room = is_full
            .then(|| open().filter_map(Peer::evictable_us).min())
            .flatten();
        [stack, peers, room, self.announcements.deadline_us()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends the kept connection that has been idle longest, so that somebody else may come. Returns whether there was one.
    fn make_room(&mut self, now_us: u64) -> bool {
        let kept = self
            .peers
            .iter()
            .filter_map(|peer| Some((peer.evictable_us()?, peer.handle()?)));
        let Some((at_us, handle)) = kept.min_by_key(|&(at_us, _)| at_us) else {
            return false;
        };
        if now_us < at_us {
            return false;
        }
        self.sockets.get_mut::<tcp::Socket<'_>>(handle).abort();
        true
    }
}

/// The numbers of the bits that are set, in rising order.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let at = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (at < u64::BITS).then_some(at as usize)
    })
}

fn follow_dhcp(
    interface: &mut Interface,
    announcements: &mut Announcements,
    event: Option<dhcpv4::Event<'_>>,
) -> Option<Change> {
    match event? {
        dhcpv4::Event::Configured(config) => {
            let is_new = interface.ipv4_addr() != Some(config.address.address());
            set_address(interface, Some((config.address, config.router)));
            is_new.then(|| {
                announcements.begin(config.address.address());
                Change::Address(config.address.address())
            })
        }
        dhcpv4::Event::Deconfigured => {
            let had_address = interface.ipv4_addr().is_some();
            set_address(interface, None);
            announcements.end();
            had_address.then_some(Change::NoAddress)
        }
    }
}

fn set_address(interface: &mut Interface, address: Option<(Ipv4Cidr, Option<Ipv4Addr>)>) {
    interface.routes_mut().remove_default_ipv4_route();
    interface.update_ip_addrs(|addresses| {
        addresses.clear();
        // One address fits: smoltcp holds at least two.
        let _ = addresses.extend_from_slice(address.map(|(cidr, _)| IpCidr::Ipv4(cidr)).as_slice());
    });
    if let Some((_, Some(gateway))) = address {
        // One route fits as well.
        let _ = interface.routes_mut().add_default_ipv4_route(gateway);
    }
}

fn instant(us: u64) -> Instant {
    Instant::from_micros(i64::try_from(us).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
