//! Route netlink (rtnetlink(7)) as little as the warden needs of it: messages are built and read as bytes, a request
//! waits for its acknowledgement, a dump hands out one message after the other.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, recvfrom, sendto,
    socket_with, sockopt,
};
use std::time::Duration;

/// The kernel answers at once; this only keeps a broken kernel from holding the warden for ever.
const DEADLINE: Duration = Duration::from_secs(5);
/// The kernel fills dumps in pieces of at most 32 KiB.
const BUFFER_BYTES: usize = 32 * 1024;
/// A dump that changed while it was read is begun again this often.
const DUMP_ATTEMPTS: usize = 8;

const HEADER_BYTES: usize = 16;

/// A message under construction: the header, a fixed part and attributes, each padded to four bytes.
#[derive(Clone)]
pub struct Message(Vec<u8>);

impl Message {
    /// `kind` is `RTM_…`, `flags` are `NLM_F_…` besides REQUEST.
    pub fn new(kind: u16, flags: i32) -> Message {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Message(bytes)
    }

    /// The fixed part: `struct ifinfomsg`, `tcmsg` and the like.
    pub fn fixed(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self.pad()
    }

    /// One attribute.
    pub fn attribute(self, kind: u16, value: &[u8]) -> Message {
        self.nest(kind, |mut inner| {
            inner.0.extend_from_slice(value);
            inner
        })
    }

    /// One attribute that holds what `inside` adds. All that the warden sends is far below an attribute's 64 KiB.
    pub fn nest(mut self, kind: u16, inside: impl FnOnce(Message) -> Message) -> Message {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        let mut whole = inside(self);
        // The length leaves out the padding that follows.
        let length = (whole.0.len() - start) as u16;
        whole.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        whole.pad()
    }

    /// One attribute that holds a NUL-terminated string.
    pub fn text(self, kind: u16, value: &str) -> Message {
        self.nest(kind, |mut inner| {
            inner.0.extend_from_slice(value.as_bytes());
            inner.0.push(0);
            inner
        })
    }

    fn pad(mut self) -> Message {
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// A route netlink socket in the calling thread's network namespace.
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub fn open() -> Result<Socket, Errno> {
        // No protocol is protocol 0, NETLINK_ROUTE.
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(DEADLINE))?;
        Ok(Socket { fd, sequence: 0 })
    }

    /// Sends a request and waits for its acknowledgement; the error is the kernel's own.
    pub fn request(&mut self, message: Message) -> Result<(), Errno> {
        let sequence = self.send(message, libc::NLM_F_ACK)?;
        let mut answer = Err(Errno::PROTO);
        self.receive(sequence, &mut |kind, body| {
            if kind == libc::NLMSG_ERROR as u16 {
                answer = acknowledgement(body);
                return true;
            }
            false
        })?;
        answer
    }

    /// Sends a dump request and hands the body of each message of `kind` to `each`. What `each` has gathered is only
    /// valid when this returns Ok; `Err(INTR)` means that the tables changed meanwhile.
    fn dump_once(&mut self, message: Message, each: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let sequence = self.send(message, libc::NLM_F_DUMP)?;
        let mut outcome = Ok(());
        let interrupted = self.receive(sequence, &mut |kind, body| match i32::from(kind) {
            libc::NLMSG_DONE => true,
            libc::NLMSG_ERROR => {
                outcome = acknowledgement(body);
                true
            }
            _ => {
                each(body);
                false
            }
        })?;
        outcome?;
        if interrupted { Err(Errno::INTR) } else { Ok(()) }
    }

    /// All messages that answer a dump request, read by `decode`; begun again while the tables change.
    pub fn dump<T>(
        &mut self,
        message: &Message,
        decode: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut found = Vec::new();
            match self.dump_once(message.clone(), &mut |body| found.extend(decode(body))) {
                Err(Errno::INTR) => continue,
                outcome => return outcome.map(|()| found),
            }
        }
        Err(Errno::INTR)
    }

    fn send(&mut self, message: Message, flags: i32) -> Result<u32, Errno> {
        self.sequence += 1;
        let mut bytes = message.finish(self.sequence);
        let all = u16::from_ne_bytes([bytes[6], bytes[7]]) | flags as u16;
        bytes[6..8].copy_from_slice(&all.to_ne_bytes());
        sendto(
            &self.fd,
            &bytes,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        Ok(self.sequence)
    }

    /// Reads until `each` says that the answer is complete. Returns whether a dump was interrupted.
    fn receive(&mut self, sequence: u32, each: &mut dyn FnMut(u16, &[u8]) -> bool) -> Result<bool, Errno> {
        let mut buffer = vec![0u8; BUFFER_BYTES];
        let mut interrupted = false;
        loop {
            let (length, whole, from) = match recvfrom(&self.fd, buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
                other => other?,
            };
            if whole > length {
                return Err(Errno::MSGSIZE);
            }
            if !is_kernel(from) {
                continue;
            }
            for (header, body) in messages(&buffer[..length]) {
                if header.sequence != sequence {
                    continue;
                }
                interrupted |= header.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                if each(header.kind, body) {
                    return Ok(interrupted);
                }
            }
        }
    }
}

/// Only the kernel (port 0) is listened to: any process may send to our socket's port.
fn is_kernel(from: Option<SocketAddrAny>) -> bool {
    from.and_then(|address| SocketAddrNetlink::try_from(address).ok())
        .is_some_and(|address| address.pid() == 0)
}

/// The body of an NLMSG_ERROR: a negative errno, or 0.
fn acknowledgement(body: &[u8]) -> Result<(), Errno> {
    match read_u32(body, 0).map(|bits| bits as i32) {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number.saturating_neg())),
        None => Err(Errno::PROTO),
    }
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// The messages of one datagram; a length that does not fit ends the walk.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let length = read_u32(bytes, 0)? as usize;
        let header = Header {
            kind: read_u16(bytes, 4)?,
            flags: read_u16(bytes, 6)?,
            sequence: read_u32(bytes, 8)?,
        };
        let body = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((header, body))
    })
}

/// The attributes after a fixed part; a length that does not fit ends the walk. Flag bits of the kind are cleared.
pub fn attributes(bytes: Option<&[u8]>) -> impl Iterator<Item = (u16, &[u8])> {
    let mut bytes = bytes.unwrap_or(&[]);
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(bytes, 0)?);
        let kind = read_u16(bytes, 2)? & !(libc::NLA_F_NESTED as u16 | libc::NLA_F_NET_BYTEORDER as u16);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
