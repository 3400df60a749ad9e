use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::wire::IpAddress;

use super::*;

const ABOUT: About<'static> = About {
    mode: "unikernel",
    monitor: Some("test"),
    hostname: None,
};
const SERVER: Link = Link {
    mac: [2, 0, 0, 0, 0, 2],
    mtu: 1500,
};
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// Both ends of a cable; time stands still unless moved.
#[derive(Clone, Default)]
struct Cable {
    to_server: Frames,
    to_client: Frames,
}

impl Machine for Cable {
    fn now_us(&mut self) -> u64 {
        0
    }
    fn entropy(&mut self) -> u64 {
        1
    }
    fn print(&mut self, _: &str) {}
    fn exit(&mut self, _: u8) -> ! {
        unreachable!()
    }
    fn link(&self) -> Option<Link> {
        Some(SERVER)
    }
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        let received = self.to_server.borrow_mut().pop_front()?;
        frame[..received.len()].copy_from_slice(&received);
        Some(received.len())
    }
    fn can_send(&mut self) -> bool {
        true
    }
    fn send(&mut self, frame: &[u8]) {
        self.to_client.borrow_mut().push_back(frame.to_vec());
    }
    fn wait(&mut self, _: Option<u64>) {}
}

struct ClientSide(Cable);
struct Taken(Vec<u8>);
struct Given(Frames);

impl RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Given {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl Device for ClientSide {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Given;
    fn receive(&mut self, _: Instant) -> Option<(Taken, Given)> {
        let frame = self.0.to_client.borrow_mut().pop_front()?;
        Some((Taken(frame), Given(self.0.to_server.clone())))
    }
    fn transmit(&mut self, _: Instant) -> Option<Given> {
        Some(Given(self.0.to_server.clone()))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A server, and a client with as many sockets as it likes.
struct World {
    now_us: u64,
    cable: Cable,
    server: Stack<Cable>,
    device: ClientSide,
    client: Interface,
    sockets: SocketSet<'static>,
    next_port: u16,
}

impl World {
    fn new(line: &'static str) -> Self {
        let cable = Cable::default();
        let boot = Boot::parse(line.as_bytes()).unwrap();
        let server = Stack::new(
            cable.clone(),
            SERVER,
            &boot,
            1,
            Box::leak(Box::new(Storage::new())),
        );
        let mut device = ClientSide(cable.clone());
        let config = Config::new(EthernetAddress([2, 0, 0, 0, 0, 1]).into());
        let mut client = Interface::new(config, &mut device, instant(0));
        let address = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 1), 24);
        set_address(&mut client, Some((address, None)));
        let slots = Vec::leak((0..200).map(|_| SocketStorage::EMPTY).collect());
        Self {
            now_us: 0,
            cable,
            server,
            device,
            client,
            sockets: SocketSet::new(slots),
            next_port: 50_000,
        }
    }

    /// Runs both sides until neither has anything to say at this moment.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.server.poll(self.now_us);
            let is_busy = self.server.answer(self.now_us, &ABOUT, 0);
            self.client
                .poll(instant(self.now_us), &mut self.device, &mut self.sockets);
            if !is_busy
                && self.cable.to_server.borrow().is_empty()
                && self.cable.to_client.borrow().is_empty()
            {
                return;
            }
        }
        panic!("the two sides never come to rest");
    }

    /// Lets time pass as a sleeping guest would see it: from one deadline to the next.
    fn sleep(&mut self, us: u64) {
        let end = self.now_us + us;
        let mut rounds = 0;
        while let Some(at) = self.server.deadline_us(self.now_us).filter(|&at| at < end) {
            self.now_us = at.max(self.now_us + 1);
            self.settle();
            rounds += 1;
            assert!(rounds < 1000, "the guest spins");
        }
        self.now_us = end;
        self.settle();
    }

    fn connect(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(Vec::leak(vec![0_u8; 2048]));
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        self.next_port += 1;
        let server = (IpAddress::v4(10, 0, 0, 2), 80);
        socket
            .connect(self.client.context(), server, self.next_port)
            .unwrap();
        self.sockets.add(socket)
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Sends a request on a connection and returns the status line's code.
    fn ask(&mut self, handle: SocketHandle, request: &[u8]) -> String {
        self.settle();
        self.socket(handle).send_slice(request).unwrap_or(0);
        self.settle();
        self.settle();
        let mut answer = [0; 1024];
        let length = self.socket(handle).recv_slice(&mut answer).unwrap_or(0);
        String::from_utf8_lossy(answer[..length].get(9..12).unwrap_or_default()).into_owned()
    }
}

#[test]
fn the_address_is_announced_twice_and_then_the_guest_sleeps_without_end() {
    let mut world = World::new("ip=10.0.0.2/24");
    world.server.poll(0);
    let frame = world.cable.to_client.borrow_mut().pop_front().unwrap();
    assert_eq!(frame.len(), 60);
    assert_eq!(
        &frame[..14],
        [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6]
    );
    assert_eq!(
        &frame[14..42],
        [
            0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2
        ]
    );
    world.server.answer(0, &ABOUT, 0);
    assert_eq!(world.server.deadline_us(0), Some(2_000_000));
    world.sleep(3_000_000);
    assert_eq!(world.server.deadline_us(world.now_us), None);
}

#[test]
fn more_connections_than_sockets_are_served_one_after_another_without_waiting() {
    let mut world = World::new("ip=10.0.0.2/24");
    for _ in 0..SOCKETS + 20 {
        let handle = world.connect();
        assert_eq!(world.ask(handle, GET_AND_CLOSE), "200");
        world.socket(handle).close();
        world.settle();
        world.socket(handle).abort();
        world.sockets.remove(handle);
    }
}

#[test]
fn all_sockets_serve_at_once_and_a_kept_connection_gives_way_after_a_second() {
    let mut world = World::new("ip=10.0.0.2/24");
    let kept: Vec<_> = (0..SOCKETS).map(|_| world.connect()).collect();
    for &handle in &kept {
        assert_eq!(world.ask(handle, GET), "200");
    }
    let early = world.connect();
    assert_eq!(
        world.ask(early, GET),
        "",
        "refused: nobody has been idle long enough"
    );
    world.sleep(1_500_000);
    let late = world.connect();
    assert_eq!(world.ask(late, GET), "200");
    let ended = kept
        .iter()
        .filter(|&&handle| !world.sockets.get::<tcp::Socket<'_>>(handle).is_open())
        .count();
    assert!(
        (1..SOCKETS).contains(&ended),
        "{ended} of the kept ones had to go"
    );
}

#[test]
fn a_silent_peer_is_hung_up_on_and_its_socket_listens_again() {
    let mut world = World::new("ip=10.0.0.2/24");
    let handle = world.connect();
    world.settle();
    world.socket(handle).send_slice(b"GET / HT").unwrap();
    world.settle();
    world.sleep(29_000_000);
    assert_eq!(world.socket(handle).state(), tcp::State::Established);
    world.sleep(2_000_000);
    assert_eq!(world.socket(handle).state(), tcp::State::CloseWait);
    world.sleep(10_000_000);
    assert_eq!(
        world.server.deadline_us(world.now_us),
        None,
        "nothing is left to wait for"
    );
}

#[test]
fn a_peer_that_only_listens_still_gets_its_answer() {
    let mut world = World::new("ip=10.0.0.2/24");
    let handle = world.connect();
    world.settle();
    world.socket(handle).send_slice(GET).unwrap();
    world.socket(handle).close();
    assert_eq!(world.ask(handle, b""), "200");
    world.settle();
    assert_eq!(
        world
            .server
            .deadline_us(world.now_us)
            .filter(|&at| at > 2_000_000),
        None
    );
}

#[test]
fn no_frame_however_broken_stops_the_server() {
    let mut world = World::new("ip=10.0.0.2/24");
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    let handle = world.connect();
    for round in 0..12 {
        if round == 6 {
            world.socket(handle).send_slice(GET_AND_CLOSE).unwrap();
        }
        world.server.poll(0);
        world.server.answer(0, &ABOUT, 0);
        world
            .client
            .poll(instant(0), &mut world.device, &mut world.sockets);
        recorded.extend(world.cable.to_server.borrow().iter().cloned());
    }
    assert!(recorded.len() >= 4, "ARP, SYN, ACK and a request were seen");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % limit
    };
    for round in 0..20_000_u64 {
        let mut frame = recorded[below(recorded.len())].clone();
        for _ in 0..below(4) {
            // Mostly in the headers.
            let at = below(frame.len().min(60));
            frame[at] = u8::try_from(below(256)).unwrap();
        }
        frame.truncate(frame.len() - below(3) * below(frame.len()) / 4);
        repair_checksum(&mut frame);
        world.cable.to_server.borrow_mut().push_back(frame);
        world.server.poll(round);
        world.server.answer(round, &ABOUT, 0);
        world.cable.to_client.borrow_mut().clear();
    }
    world.now_us = 20_000;
    world.sleep(120_000_000);
    world.sockets.remove(handle);
    let handle = world.connect();
    assert_eq!(world.ask(handle, GET), "200");
}

/// Makes an IPv4 header's checksum right, so that damage behind it is looked at.
fn repair_checksum(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(14..34) else {
        return;
    };
    header[10..12].fill(0);
    let mut sum: u32 = header
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).unwrap();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}
