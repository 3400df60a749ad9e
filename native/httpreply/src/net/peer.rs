//! One TCP socket and the HTTP connection on it.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::Socket as AnySocket;
use smoltcp::socket::tcp::{Socket, State};

use crate::http::{Connection, REPLY_LIMIT};
use crate::page::About;

/// How long a peer may say nothing, and what it was sent may stay unacknowledged.
const IDLE_US: u64 = 30_000_000;
/// How long a connection that we closed may take to end.
const LINGER_US: u64 = 5_000_000;
/// How long a kept connection is safe from making room for another.
const KEPT_US: u64 = 1_000_000;

/// A socket and what has happened on it. Only sockets in use are in the stack's set, which looks at each of them for every
/// frame.
pub struct Peer {
    spare: Option<Socket<'static>>,
    handle: Option<SocketHandle>,
    connection: &'static mut Connection,
    /// When something last happened; none while nobody is connected.
    active_us: Option<u64>,
    is_closing: bool,
}

/// What came of [`Peer::advance`].
pub enum Deeds {
    Nothing,
    /// Something was sent or closed: the stack must be polled before anyone sleeps.
    Something,
    /// The connection is over, and the peer can [`Peer::rest`].
    Ended,
}

impl Peer {
    pub fn new(mut socket: Socket<'static>, connection: &'static mut Connection) -> Self {
        // Answers are one segment and nobody types them: Nagle should not hold them.
        socket.set_nagle_enabled(false);
        Self {
            spare: Some(socket),
            handle: None,
            connection,
            active_us: None,
            is_closing: false,
        }
    }

    /// The socket's place in the set, if it is in use.
    pub fn handle(&self) -> Option<SocketHandle> {
        self.handle
    }

    /// Puts a spare socket into the set, listening. Returns its place, if there was one.
    pub fn listen(&mut self, sockets: &mut SocketSet<'static>, port: u16) -> Option<SocketHandle> {
        let mut socket = self.spare.take()?;
        // Fails only for port 0, which the boot line cannot say, and for an open socket.
        let _ = socket.listen(port);
        self.handle = Some(sockets.add(socket));
        self.handle
    }

    /// Takes the socket out of the set, whatever became of it, and forgets its peer. Nothing is sent for it.
    pub fn rest(&mut self, sockets: &mut SocketSet<'static>) {
        self.connection.reset();
        self.active_us = None;
        self.is_closing = false;
        let removed = self.handle.take().map(|handle| sockets.remove(handle));
        if let Some(AnySocket::Tcp(mut socket)) = removed {
            socket.abort();
            self.spare = Some(socket);
        }
    }

    /// Answers what has arrived, follows the peer's closing, and ends what takes too long.
    pub fn advance(
        &mut self,
        socket: &mut Socket<'_>,
        now_us: u64,
        about: &About<'_>,
        uptime_ms: u64,
    ) -> Deeds {
        match socket.state() {
            // A reset brings a socket that was only half open back to listening.
            State::Closed | State::Listen => return Deeds::Ended,
            // TIME-WAIT would hold the socket for ten seconds, and there are few. Both sides have ended, so at worst a peer
            // that repeats its FIN is answered with a reset that it no longer minds.
            State::TimeWait => return Deeds::Ended,
            _ => {}
        }
        let active_us = *self.active_us.get_or_insert(now_us);
        let mut has_acted = false;
        while socket.can_recv() && (self.is_closing || has_room(socket)) {
            let connection = &mut *self.connection;
            let Ok(step) = socket.recv(|bytes| {
                let step = connection.step(bytes, about, uptime_ms);
                (step.consumed, step)
            }) else {
                break;
            };
            has_acted = true;
            if !self.is_closing {
                self.active_us = Some(now_us);
            }
            if let Some(reply) = &step.reply {
                // There is room for it.
                let _ = socket.send_slice(reply.as_bytes());
            }
            if step.close && !self.is_closing {
                self.close(socket, now_us);
            }
        }
        // The peer has said its last, and it is answered.
        if socket.state() == State::CloseWait && !socket.can_recv() {
            self.close(socket, now_us);
            has_acted = true;
        }
        if now_us >= active_us + self.patience_us() && self.active_us == Some(active_us) {
            has_acted = true;
            if self.is_closing || socket.state() == State::SynReceived {
                socket.abort();
            } else {
                self.close(socket, now_us);
            }
        }
        if has_acted {
            Deeds::Something
        } else {
            Deeds::Nothing
        }
    }

    /// When the peer's time is over, if one is connected.
    pub fn deadline_us(&self) -> Option<u64> {
        self.active_us.map(|active_us| active_us + self.patience_us())
    }

    /// When the connection may have to make room for another, if it is merely kept.
    pub fn evictable_us(&self) -> Option<u64> {
        self.active_us
            .filter(|_| !self.connection.is_mid_request())
            .map(|active_us| active_us + KEPT_US)
    }

    fn close(&mut self, socket: &mut Socket<'_>, now_us: u64) {
        socket.close();
        self.is_closing = true;
        self.active_us = Some(now_us);
    }

    fn patience_us(&self) -> u64 {
        if self.is_closing { LINGER_US } else { IDLE_US }
    }
}

fn has_room(socket: &Socket<'_>) -> bool {
    socket.may_send() && socket.send_capacity() - socket.send_queue() >= REPLY_LIMIT
}
