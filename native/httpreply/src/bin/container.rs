//! The Linux program: the image's entry point in container mode. It takes the boot line's words as arguments, serves on
//! every address of its network namespace and ends at once, with 0, on TERM and INT.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use httpreply::boot::Boot;
use httpreply::http::Connection;
use httpreply::page::About;

/// Connections served at once. Further ones wait in the kernel's queue.
const CONNECTION_LIMIT: usize = 256;
/// How long a peer may say nothing, or take nothing.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long, after the last answer, what the peer still sends is swallowed, so that no reset overtakes the answer.
const LINGER: Duration = Duration::from_secs(2);
/// A thread holds one connection's state and a read buffer, both a few KiB.
const STACK_BYTES: usize = 128 * 1024;

static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let started = Instant::now();
    end_on_signals();
    match run(started) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("httpreply: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run(started: Instant) -> Result<ExitCode, String> {
    let words: Vec<String> = env::args().skip(1).collect();
    let port_of_environment = env::var("PORT").ok().map(|port| format!("port={port}"));
    let mut boot = Boot::new();
    for word in port_of_environment.iter().chain(&words) {
        boot.add(word)
            .map_err(|bad| format!("bad word {:?}: wants {}", bad.word, bad.wants))?;
    }
    let port = boot.port;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => {
                "; ports below 1024 need CAP_NET_BIND_SERVICE: say port=8080, for example"
            }
            ErrorKind::AddrInUse => "; say another with port=",
            _ => "",
        };
        format!("cannot listen on 0.0.0.0:{port}: {error}{remedy}")
    })?;
    say(&format!("httpreply: container, listening on 0.0.0.0:{port}\n"));
    if let Some(status) = boot.exit {
        return Ok(ExitCode::from(status));
    }
    let hostname = boot.hostname.map(str::to_owned);
    loop {
        match listener.accept() {
            Ok((stream, _)) => serve_in_thread(stream, hostname.clone(), started),
            // Out of descriptors or memory, or a peer that is already gone: others may still be served.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn serve_in_thread(stream: TcpStream, hostname: Option<String>, started: Instant) {
    while CONNECTIONS.load(Ordering::Acquire) >= CONNECTION_LIMIT {
        thread::sleep(Duration::from_millis(1));
    }
    CONNECTIONS.fetch_add(1, Ordering::AcqRel);
    let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        // A peer's failure ends its connection and is nobody else's matter.
        let _ = serve(stream, hostname.as_deref(), started);
        CONNECTIONS.fetch_sub(1, Ordering::AcqRel);
    });
    if spawned.is_err() {
        CONNECTIONS.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(mut stream: TcpStream, hostname: Option<&str>, started: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PEER_TIMEOUT))?;
    stream.set_write_timeout(Some(PEER_TIMEOUT))?;
    let about = About {
        mode: "container",
        monitor: None,
        hostname,
    };
    let mut connection = Connection::new();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut input = &buffer[..length];
        while !input.is_empty() {
            let step = connection.step(input, &about, elapsed_ms(started));
            input = &input[step.consumed..];
            if let Some(reply) = &step.reply {
                stream.write_all(reply.as_bytes())?;
            }
            if step.close {
                return linger(stream, &mut buffer);
            }
        }
    }
}

/// Closing a socket with unread bytes resets it, and a reset may destroy the answer on its way (RFC 9112, 9.6).
fn linger(mut stream: TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    let deadline = Instant::now() + LINGER;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(buffer)? == 0 {
            return Ok(());
        }
    }
}

fn elapsed_ms(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// One write, so that the line is not torn; nobody reading it is no reason to stop.
fn say(line: &str) {
    let _ = io::stdout().write_all(line.as_bytes());
}

/// As a container's process 1 the program has no default reaction to signals: without a handler TERM would be ignored.
fn end_on_signals() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: _exit may be called in a signal handler.
        unsafe { libc::_exit(0) }
    }
    let handler: extern "C" fn(libc::c_int) = end;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: the handler calls only what a handler may, and shares no state with the program.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}
