//! A warden of containerd's: it owns the task's socket, and carries containerd's calls (ttrpc) to `tripodd` and the answers back. What the daemon has not
//! answered is asked again when it comes back; containerd never sees it go.

use super::Connection;
use super::ttrpc::{Frame, Frames, Kind, MAX_PAYLOAD, response};
use crate::protocol::StateFile;
use crate::shim::refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Clients at once: containerd has one connection, two while it restarts.
const MAX_PEERS: usize = 16;
/// Calls that wait for an answer at once; `Wait` of every process is one.
const MAX_CALLS: usize = 4096;
/// Bytes of answers that a client may leave unread.
const MAX_UNREAD: usize = 16 << 20;
/// Between two looks for the daemon.
const RETRY: Duration = Duration::from_millis(20);

/// How long a daemon that restarts may take before another is started. One that starts holds a lock, at which a second gives up.
const PATIENCE: Duration = Duration::from_millis(500);

/// containerd tries for 100 seconds to reach a task that it has started.
const UNASKED: Duration = Duration::from_secs(120);

/// google.rpc.Code.
const INVALID_ARGUMENT: u64 = 3;
const RESOURCE_EXHAUSTED: u64 = 8;

/// What the shim's `start` was told.
pub struct TaskOptions {
    pub namespace: String,
    pub bundle: PathBuf,
    /// Where our own address is: removed with us.
    pub socket: PathBuf,
    /// containerd's socket for events.
    pub publish: String,
    /// Where `tripodd.sock` is.
    pub run: PathBuf,
}

struct Call {
    peer: u64,
    stream: u32,
    request: Vec<u8>,
}

struct Peer {
    fd: OwnedFd,
    number: u64,
    frames: Frames,
    /// The highest stream that it has opened.
    stream: u32,
    output: Vec<u8>,
    open: bool,
}

pub struct Task {
    options: TaskOptions,
    listener: OwnedFd,
    peers: Vec<Peer>,
    next_peer: u64,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// The server's number of the connection to the daemon.
    pub daemon: Option<u64>,
    pub retry_at: Option<Instant>,
    /// Since when nobody has answered, and whether a daemon was started for it.
    missing_since: Option<Instant>,
    unasked_until: Instant,
    /// The last answer has been given: we end once it is on its way.
    pub finished: bool,
}

/// What the daemon is told first (`src/spec/brain.ts`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello<'a> {
    op: &'static str,
    version: u32,
    namespace: &'a str,
    id: &'a str,
    bundle: &'a Path,
    state_dir: &'a Path,
    publish: &'a str,
    state: &'a StateFile,
}

#[derive(Serialize)]
struct CallLine {
    call: u64,
    request: String,
}

/// The daemon's answer to a call.
#[derive(Deserialize)]
pub struct ReplyLine {
    reply: u64,
    response: String,
    #[serde(default)]
    last: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TaskReady {
    Listener,
    Peer(u64),
}

impl Task {
    pub fn new(options: TaskOptions, listener: OwnedFd) -> Task {
        Task {
            options,
            listener,
            peers: Vec::new(),
            next_peer: 0,
            calls: BTreeMap::new(),
            next_call: 1,
            daemon: None,
            retry_at: Some(Instant::now()),
            missing_since: None,
            unasked_until: Instant::now() + UNASKED,
            finished: false,
        }
    }

    pub fn interests(&self) -> Vec<(TaskReady, BorrowedFd<'_>, PollFlags)> {
        let mut list = Vec::with_capacity(1 + self.peers.len());
        if self.peers.len() < MAX_PEERS {
            list.push((TaskReady::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        for peer in &self.peers {
            let mut flags = PollFlags::IN;
            if !peer.output.is_empty() {
                flags |= PollFlags::OUT;
            }
            list.push((TaskReady::Peer(peer.number), peer.fd.as_fd(), flags));
        }
        list
    }

    /// Takes what is there. The lines are for the daemon.
    pub fn advance(&mut self, ready: TaskReady, flags: PollFlags) -> Vec<Vec<u8>> {
        match ready {
            TaskReady::Listener => {
                self.accept();
                Vec::new()
            }
            TaskReady::Peer(number) => {
                let Some(at) = self.peers.iter().position(|peer| peer.number == number) else {
                    return Vec::new();
                };
                if flags.contains(PollFlags::OUT) {
                    self.peers[at].flush();
                }
                let frames = self.peers[at].receive();
                let lines = frames
                    .into_iter()
                    .filter_map(|frame| self.take(at, frame))
                    .collect();
                self.forget_closed();
                lines
            }
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        let is_ours = rustix::net::sockopt::socket_peercred(&fd)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if is_ours {
            self.next_peer += 1;
            self.peers.push(Peer {
                fd,
                number: self.next_peer,
                frames: Frames::default(),
                stream: 0,
                output: Vec::new(),
                open: true,
            });
        }
    }

    /// A call becomes a line for the daemon; what is no call is answered here.
    fn take(&mut self, at: usize, frame: Frame) -> Option<Vec<u8>> {
        let peer = &mut self.peers[at];
        let (stream, code, text) = match frame {
            Frame::Whole {
                kind: Kind::Request,
                stream,
                payload,
            } => {
                if stream % 2 == 0 || stream <= peer.stream {
                    let text = format!("stream {stream} is none that a client may open now");
                    (stream, INVALID_ARGUMENT, text)
                } else if self.calls.len() >= MAX_CALLS {
                    peer.stream = stream;
                    (stream, RESOURCE_EXHAUSTED, "too many calls wait".to_string())
                } else {
                    peer.stream = stream;
                    let call = self.next_call;
                    self.next_call += 1;
                    let line = call_line(call, &payload);
                    let request = payload;
                    let peer = peer.number;
                    self.calls.insert(
                        call,
                        Call {
                            peer,
                            stream,
                            request,
                        },
                    );
                    return Some(line);
                }
            }
            Frame::Whole { .. } => return None,
            Frame::TooLong { stream, length } => {
                let text = format!("a message of {length} bytes is longer than {MAX_PAYLOAD}");
                (stream, RESOURCE_EXHAUSTED, text)
            }
        };
        peer.send(&response(stream, &refusal(code, &text)));
        None
    }

    /// Gives an answer of the daemon's to whoever asked. One to a call that was answered before is dropped.
    pub fn reply(&mut self, line: &ReplyLine) {
        if line.last {
            // Another task of this name must not find us.
            let _ = std::fs::remove_file(&self.options.socket);
        }
        if let Some(call) = self.calls.remove(&line.reply)
            && let Some(peer) = self.peers.iter_mut().find(|peer| peer.number == call.peer)
            && let Ok(payload) = STANDARD.decode(&line.response)
        {
            peer.send(&response(call.stream, &payload));
        }
        self.finished |= line.last;
        self.forget_closed();
    }

    fn forget_closed(&mut self) {
        self.peers.retain(|peer| peer.open);
        let peers = &self.peers;
        // Nobody waits for these answers. What was asked is still done: containerd asks anew on its next connection.
        self.calls
            .retain(|_, call| peers.iter().any(|peer| peer.number == call.peer));
    }

    /// When a task whose maker has gone before it asked for anything is given up.
    pub fn given_up_at(&self) -> Option<Instant> {
        (self.next_peer == 0).then_some(self.unasked_until)
    }

    /// Everything that was to be said is on its way, or its reader is gone.
    pub fn is_done(&self) -> bool {
        self.finished && self.peers.iter().all(|peer| peer.output.is_empty())
    }

    /// Where a daemon would be, when nobody has answered for so long that one is to be started.
    pub fn wants_daemon(&mut self) -> Option<PathBuf> {
        let now = Instant::now();
        let since = *self.missing_since.get_or_insert(now);
        if self.daemon.is_some() || now.duration_since(since) < PATIENCE {
            return None;
        }
        self.missing_since = Some(now);
        Some(self.options.run.clone())
    }

    /// Looks for the daemon: a connection, and what is said on it first.
    pub fn connect(&mut self, number: u64, id: &str, dir: &Path, state: &StateFile) -> Option<Connection> {
        let Some(fd) = daemon_at(&self.options.run) else {
            self.retry_at = Some(Instant::now() + RETRY);
            return None;
        };
        self.missing_since = None;
        let mut connection = Connection::new(fd, number, true);
        connection.send(&Hello {
            op: "task",
            version: 1,
            namespace: &self.options.namespace,
            id,
            bundle: &self.options.bundle,
            state_dir: dir,
            publish: &self.options.publish,
            state,
        });
        for (call, Call { request, .. }) in &self.calls {
            connection.forward(&call_line(*call, request));
        }
        self.daemon = Some(number);
        self.retry_at = None;
        Some(connection)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.options.socket);
        }
    }
}

fn call_line(call: u64, request: &[u8]) -> Vec<u8> {
    let request = STANDARD.encode(request);
    serde_json::to_vec(&CallLine { call, request }).unwrap_or_default()
}

/// A connection to the daemon of our own user.
fn daemon_at(run: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(run.join("tripodd.sock")).ok()?).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&fd).ok()?;
    (peer.uid == rustix::process::geteuid()).then_some(fd)
}

impl Peer {
    fn receive(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut buffer = [0u8; 16 << 10];
        while self.open {
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => self.open = false,
                Ok(length) => self.frames.feed(&buffer[..length], &mut frames),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.open = false,
            }
        }
        frames
    }

    fn send(&mut self, frame: &[u8]) {
        self.output.extend_from_slice(frame);
        self.flush();
        if self.output.len() > MAX_UNREAD {
            self.open = false;
        }
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match rustix::net::send(&self.fd, &self.output, rustix::net::SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.output.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.open = false;
                    self.output = Vec::new();
                }
            }
        }
    }
}
