//! `tripod-warden serve`: the parent of one sandbox, from its first plan to its last byte of output. One thread, one loop.

mod connection;
mod ending;
mod state;
mod task;
mod ttrpc;
mod verbs;

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::journal::Journal;
use crate::options::Options;
use crate::plan::Plan;
use crate::process;
use crate::protocol::{Exit, OnExit, ProcessName, RequestLine, Status};
use crate::session::Session;
use crate::shim::daemon::{self, Outside};
use crate::state_dir::StateDir;
use crate::stdio::Interest;
use crate::sys;
pub use connection::Connection;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mount::MountPropagationFlags;
use rustix::net::SocketFlags;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use task::{ReplyLine, Task, TaskOptions, TaskReady};

/// Clients at once, the owner included; more are turned away.
const MAX_CONNECTIONS: usize = 64;

/// How long a warden that could not start waits for a request that it can answer with the reason.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// A request whose answer comes when the workload has ended.
struct Waiter {
    connection: u64,
    id: u64,
}

pub struct Server {
    session: Session,
    journal: Journal,
    signals: OwnedFd,
    listener: OwnedFd,
    /// Held as long as we live.
    _lock: OwnedFd,
    connections: Vec<Connection>,
    next_connection: u64,
    status: Status,
    on_exit: OnExit,
    /// The owner let go of a sandbox that has not started: somebody else will start or delete it.
    released: bool,
    /// The launch plan that `start` carries out, of a sandbox whose network comes after its creation.
    at_start: Option<Plan>,
    /// A plan has failed and everything was undone: only `delete` is left.
    failed: bool,
    warden: ProcessName,
    created_at: String,
    started_at: Option<String>,
    exit: Option<Exit>,
    waiters: Vec<Waiter>,
    /// When the workload that was asked to stop is killed.
    kill_at: Option<Instant>,
    /// The workload has ended and not all could be undone: the journal stays, and the state directory with it.
    undo_failed: bool,
    /// The end was written down and told.
    told: bool,
    /// A task's last output is passed on until then.
    drain_until: Option<Instant>,
    /// The task was deleted and is removed once it is shut down.
    deleted: bool,
    /// Set when the loop is to end: our exit status.
    done: Option<u8>,
    /// Of a warden that containerd talks to.
    task: Option<Task>,
}

/// Entry point. fd 3 is the owner's connection; a warden without one serves its control socket alone.
pub fn main(arguments: &[String]) -> ExitCode {
    let owner = sys::inherited_fd(3).map(|fd| Connection::new(fd, 0, true));
    match Options::parse(arguments).and_then(|options| start(&options)) {
        Ok(mut server) => {
            server.connections.extend(owner);
            server.run();
            ExitCode::from(server.done.unwrap_or(0))
        }
        Err(error) => {
            // The owner reads errors from its connection; whoever has none reads them here.
            if let Some(owner) = owner {
                refuse(owner, &error);
            }
            eprintln!("tripod-warden: {error}");
            ExitCode::from(125)
        }
    }
}

/// Entry point of a task of containerd's: fd 3 is the task's socket.
pub fn task_main(arguments: &[String]) -> ExitCode {
    let started = task_options(arguments).and_then(|(options, task)| {
        let listener =
            sys::inherited_fd(3).ok_or_else(|| Error::bad_request("there is no socket at fd 3"))?;
        let mut server = start(&options)?;
        // The daemon that comes and goes is no owner whose going ends anything.
        server.released = true;
        server.task = Some(Task::new(task, listener));
        Ok(server)
    });
    match started {
        Ok(mut server) => {
            server.run();
            ExitCode::from(server.done.unwrap_or(0))
        }
        Err(error) => {
            eprintln!("tripod-warden: {error}");
            ExitCode::from(125)
        }
    }
}

/// `Options`, and what the shim was told, each `--name value`.
fn task_options(arguments: &[String]) -> Result<(Options, TaskOptions)> {
    let mut own = Vec::new();
    let mut told = std::collections::BTreeMap::new();
    for pair in arguments.chunks(2) {
        let [name, value] = pair else {
            return Err(Error::bad_request(format!("{} wants a value", pair.concat())));
        };
        if name == "--dir" || name == "--lib" {
            own.extend([name.clone(), value.clone()]);
        } else {
            told.insert(name.as_str(), value.clone());
        }
    }
    let mut take = |name: &str| {
        told.remove(name)
            .ok_or_else(|| Error::bad_request(format!("{name} is missing")))
    };
    let task = TaskOptions {
        namespace: take("--namespace")?,
        bundle: take("--bundle")?.into(),
        socket: take("--socket")?.into(),
        publish: take("--publish")?,
        run: take("--run")?.into(),
    };
    Ok((Options::parse(&own)?, task))
}

/// Answers the owner's first request with the reason why there is no warden. The request is read first: to close on a
/// request that is on its way would lose the answer.
fn refuse(mut owner: Connection, error: &Error) {
    let until = Instant::now() + FIRST_REQUEST;
    let mut id = None;
    while id.is_none() && owner.is_open() && Instant::now() < until {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        let _ = rustix::event::poll(
            &mut [PollFd::from_borrowed_fd(owner.fd(), PollFlags::IN)],
            Some(&timeout),
        );
        id = owner.receive().first().map(|line| id_of(line));
    }
    owner.answer(id.unwrap_or(0), &Err(error.clone()));
}

fn start(options: &Options) -> Result<Server> {
    // Whatever else our starter left open is not ours to keep open, nor a sandbox's to inherit.
    let console = options.console.then(|| sys::inherited_fd(4)).flatten();
    sys::close_range(if console.is_some() { 5 } else { 4 }, u32::MAX);
    sys::ignore_sigpipe(true);
    let signals = [
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
    ];
    let signals = sys::signal_fd(&signals).or_system(|| "cannot wait for signals")?;
    // An error is none of ours to mend: a leader of a session already has one of its own.
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    sys::become_subreaper().or_system(|| "cannot become the reaper of orphans")?;
    // Mounts of ours die with us and never reach the host; the host's still reach us (a layer store mounted later).
    let host_mounts =
        std::fs::File::open("/proc/self/ns/mnt").or_system(|| "cannot open /proc/self/ns/mnt")?;
    sys::unshare(libc::CLONE_NEWNS).or_system(|| "cannot make a mount namespace")?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave).or_system(|| "cannot make the mounts our own")?;
    // Opened in the new mount namespace: overlayfs takes no directory of another.
    let dir = StateDir::open(&options.dir)?;
    let lock = dir.lock(Duration::ZERO)?;
    let listener = listen(&dir)?;
    let journal = Journal::create(&dir)?;
    let mut session = Session::open(dir, options.lib.clone())?;
    session.console = console;
    session.host_mounts = host_mounts.into();
    let mut server = Server {
        session,
        journal,
        signals,
        listener,
        _lock: lock,
        connections: Vec::new(),
        next_connection: 1,
        status: Status::Creating,
        on_exit: OnExit::Keep,
        released: false,
        at_start: None,
        failed: false,
        warden: process::name_of(std::process::id() as i32),
        created_at: clock::now(),
        started_at: None,
        exit: None,
        waiters: Vec::new(),
        kill_at: None,
        undo_failed: false,
        told: false,
        deleted: false,
        drain_until: None,
        done: None,
        task: None,
    };
    server.write_state()?;
    Ok(server)
}

fn listen(dir: &StateDir) -> Result<OwnedFd> {
    let what = || format!("cannot listen on {}/control.sock", dir.path().display());
    // One that a killed warden left; nobody listens on it, since the lock is ours.
    let _ = rustix::fs::unlinkat(dir.fd(), "control.sock", rustix::fs::AtFlags::empty());
    crate::unix_socket::listen_in(dir.fd(), "control.sock", SocketFlags::NONBLOCK, 0o177, 16).or_system(what)
}

#[derive(Clone, Copy)]
enum Ready {
    Signals,
    Listener,
    Connection(u64),
    Channel,
    Stream(Interest),
    /// Of the program of that place among those executed.
    ExecStream(usize, Interest),
    Task(TaskReady),
}

impl Server {
    pub fn run(&mut self) {
        while self.done.is_none() {
            for (ready, flags) in self.wait() {
                match ready {
                    Ready::Signals => self.on_signals(),
                    Ready::Listener => self.accept(),
                    Ready::Connection(number) => self.serve(number, flags),
                    Ready::Channel => self.session.hear(),
                    Ready::ExecStream(place, interest) => {
                        let exec = self.session.execs.values_mut().nth(place);
                        if let Some(streams) = exec.and_then(|exec| exec.streams.as_mut()) {
                            streams.advance(interest);
                        }
                    }
                    Ready::Task(ready) => self.on_task(ready, flags),
                    Ready::Stream(interest) => {
                        if let Some(streams) = &mut self.session.streams {
                            streams.advance(interest);
                        }
                    }
                }
            }
            self.on_deadline();
            self.forget_closed();
            self.tell_execs();
            self.finish_if_drained();
            self.tend_task();
        }
    }

    /// Waits for anything to happen.
    fn wait(&self) -> Vec<(Ready, PollFlags)> {
        let mut tokens = vec![Ready::Signals, Ready::Listener];
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        for connection in &self.connections {
            tokens.push(Ready::Connection(connection.number));
            fds.push(PollFd::from_borrowed_fd(connection.fd(), connection.interest()));
        }
        if let Some((fd, _)) = &self.session.channel {
            tokens.push(Ready::Channel);
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        for (interest, fd, flags) in self
            .session
            .streams
            .iter()
            .flat_map(|streams| streams.interests())
        {
            tokens.push(Ready::Stream(interest));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        for (place, exec) in self.session.execs.values().enumerate() {
            for (interest, fd, flags) in exec.streams.iter().flat_map(|streams| streams.interests()) {
                tokens.push(Ready::ExecStream(place, interest));
                fds.push(PollFd::from_borrowed_fd(fd, flags));
            }
        }
        for (ready, fd, flags) in self.task.iter().flat_map(Task::interests) {
            tokens.push(Ready::Task(ready));
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        let retry_at = self.task.as_ref().and_then(|task| task.retry_at);
        let given_up_at = self.task.as_ref().and_then(Task::given_up_at);
        let drain_until = self.drain_until.filter(|_| !self.told);
        let next = [self.kill_at, retry_at, given_up_at, drain_until]
            .into_iter()
            .flatten()
            .min();
        let timeout = next.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => tokens
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
                .map(|(token, fd)| (token, fd.revents()))
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    fn accept(&mut self) {
        let Ok(fd) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return;
        };
        // The socket's mode and directory keep others out already; this keeps out whoever was handed a descriptor of the directory.
        let is_ours = rustix::net::sockopt::socket_peercred(&fd)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if is_ours && self.connections.len() < MAX_CONNECTIONS {
            self.connections
                .push(Connection::new(fd, self.next_connection, false));
            self.next_connection += 1;
        }
    }

    fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        self.connections
            .iter_mut()
            .find(|connection| connection.number == number)
    }

    fn serve(&mut self, number: u64, flags: PollFlags) {
        let Some(connection) = self.connection(number) else {
            return;
        };
        if flags.contains(PollFlags::OUT) {
            connection.flush();
        }
        for line in connection.receive() {
            if let Some(task) = &mut self.task
                && task.daemon == Some(number)
                && let Ok(reply) = serde_json::from_slice::<ReplyLine>(&line)
            {
                task.reply(&reply);
                continue;
            }
            match serde_json::from_slice::<RequestLine>(&line) {
                Ok(RequestLine { id, request }) => self.handle(number, id, request),
                Err(error) => {
                    let error = Error::bad_request(format!("the request could not be understood: {error}"));
                    if let Some(connection) = self.connection(number) {
                        connection.answer(id_of(&line), &Err(error));
                    }
                }
            }
            if self.done.is_some() {
                return;
            }
        }
    }

    fn on_task(&mut self, ready: TaskReady, flags: PollFlags) {
        let Some(task) = &mut self.task else { return };
        let lines = task.advance(ready, flags);
        let Some(daemon) = task.daemon else { return };
        if let Some(connection) = self.connection(daemon) {
            for line in lines {
                connection.forward(&line);
            }
        }
    }

    /// Keeps a connection to the daemon, and ends when the task has been shut down.
    fn tend_task(&mut self) {
        let Some(task) = &mut self.task else { return };
        if task
            .daemon
            .is_some_and(|number| !self.connections.iter().any(|one| one.number == number))
        {
            task.daemon = None;
            task.retry_at = Some(Instant::now());
        }
        let is_time = task.retry_at.is_some_and(|at| at <= Instant::now());
        if is_time {
            self.find_daemon();
        }
        let Some(task) = &self.task else { return };
        let is_done = task.is_done();
        if task.given_up_at().is_some_and(|at| at <= Instant::now()) {
            self.abandon(0);
        } else if is_done && self.done.is_none() {
            // A task that was never made has nothing to be deleted.
            if self.deleted || self.status == Status::Creating {
                let _ = self.remove();
            }
            self.done = Some(0);
        }
    }

    fn find_daemon(&mut self) {
        let state = self.state();
        let Some(task) = &mut self.task else { return };
        let dir = self.session.dir.path();
        if let Some(connection) = task.connect(self.next_connection, self.session.id(), dir, &state) {
            self.next_connection += 1;
            self.connections.push(connection);
        } else if let Some(run) = task.wants_daemon() {
            let outside = Outside {
                mounts: &self.session.host_mounts,
                network: &self.session.host_netns,
                cgroups: self
                    .session
                    .cgroup
                    .as_ref()
                    .map(crate::cgroup::Cgroup::origins)
                    .unwrap_or_default(),
            };
            if let Err(why) = daemon::start(&run, Some(&outside)) {
                eprintln!("tripod-warden: {why}");
            }
        }
    }

    /// Drops connections that are gone. Without its owner a sandbox that never started is nobody's.
    fn forget_closed(&mut self) {
        let owner_left = self
            .connections
            .iter()
            .any(|connection| connection.is_owner && !connection.is_open());
        self.connections.retain(Connection::is_open);
        let connections = &self.connections;
        self.waiters.retain(|waiter| {
            connections
                .iter()
                .any(|connection| connection.number == waiter.connection)
        });
        let never_started = matches!(self.status, Status::Creating | Status::Created) && self.exit.is_none();
        if owner_left && !self.released && never_started && self.done.is_none() {
            self.abandon(0);
        }
    }
}

/// The id of a line that is no request, so that its sender can tell which one was refused.
fn id_of(line: &[u8]) -> u64 {
    #[derive(serde::Deserialize)]
    struct Id {
        id: u64,
    }
    serde_json::from_slice::<Id>(line).map_or(0, |id| id.id)
}
