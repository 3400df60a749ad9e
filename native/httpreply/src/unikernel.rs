//! A unikernel's whole life: read the boot line, say the first line, serve, sleep while there is nothing to do.

use core::fmt::{self, Write};

use crate::boot::{Address, Boot};
use crate::net::{Change, Stack, Storage};
use crate::page::About;

/// The first network device of a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    pub mac: [u8; 6],
    /// Bytes of an IP packet, the Ethernet header not counted.
    pub mtu: usize,
}

/// What a unikernel needs of the thing it runs on. Times are microseconds of one clock that never goes back.
pub trait Machine {
    fn now_us(&mut self) -> u64;
    /// Bits that differ from one boot to the next. Nothing secret hangs on them.
    fn entropy(&mut self) -> u64;
    /// Writes to the console.
    fn print(&mut self, text: &str);
    /// Ends the guest, with a status where the machine can carry one.
    fn exit(&mut self, status: u8) -> !;
    /// The network device, if there is one. The same on every call.
    fn link(&self) -> Option<Link>;
    /// Copies the next received Ethernet frame to `frame` and returns its length; a longer one is lost.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize>;
    /// Whether a frame can be sent now.
    fn can_send(&mut self) -> bool;
    /// Sends an Ethernet frame. A frame that cannot be sent is lost.
    fn send(&mut self, frame: &[u8]);
    /// Sleeps until a frame can be received or the clock shows `deadline_us`; forever if neither ever happens. May return
    /// early.
    fn wait(&mut self, deadline_us: Option<u64>);
}

/// Runs the server on a machine. `monitor` is what to call the monitor if the boot line does not say.
pub fn run<M: Machine>(mut machine: M, monitor: &str, line: &[u8], storage: &'static mut Storage) -> ! {
    let started_us = machine.now_us();
    let boot = match Boot::parse(line) {
        Ok(boot) => boot,
        Err(bad) => {
            say(
                &mut machine,
                format_args!(
                    "httpreply: bad word in the boot line: '{}' wants {}\n",
                    bad.word, bad.wants
                ),
            );
            machine.exit(2)
        }
    };
    let monitor = boot.monitor.unwrap_or(monitor);
    let link = machine.link();
    match (link, boot.address) {
        (None, _) => say(
            &mut machine,
            format_args!("httpreply: unikernel on {monitor}, no network device\n"),
        ),
        (_, Address::None) => say(
            &mut machine,
            format_args!("httpreply: unikernel on {monitor}, no address\n"),
        ),
        (_, Address::Dhcp) => say(
            &mut machine,
            format_args!("httpreply: unikernel on {monitor}, asking for an address by DHCP\n"),
        ),
        (_, Address::Static { ip, .. }) => {
            say(
                &mut machine,
                format_args!(
                    "httpreply: unikernel on {monitor}, listening on {ip}:{}\n",
                    boot.port
                ),
            );
        }
    }
    if let Some(status) = boot.exit {
        machine.exit(status);
    }
    let about = About {
        mode: "unikernel",
        monitor: Some(monitor),
        hostname: boot.hostname,
    };
    match link {
        Some(link) if boot.address != Address::None => {
            serve(machine, link, &boot, &about, storage, started_us)
        }
        _ => loop {
            drain(&mut machine);
            machine.wait(None);
        },
    }
}

fn serve<M: Machine>(
    mut machine: M,
    link: Link,
    boot: &Boot<'_>,
    about: &About<'_>,
    storage: &'static mut Storage,
    started_us: u64,
) -> ! {
    let seed = machine.entropy()
        ^ link
            .mac
            .iter()
            .fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
            .rotate_left(16);
    let mut stack = Stack::new(machine, link, boot, seed, storage);
    loop {
        let now_us = stack.machine().now_us();
        let change = stack.poll(now_us);
        match change {
            Some(Change::Address(ip)) => {
                let monitor = about.monitor.unwrap_or_default();
                say(
                    stack.machine(),
                    format_args!(
                        "httpreply: unikernel on {monitor}, listening on {ip}:{}\n",
                        boot.port
                    ),
                );
            }
            Some(Change::NoAddress) => {
                say(stack.machine(), format_args!("httpreply: the DHCP lease ended\n"))
            }
            None => {}
        }
        let uptime_ms = now_us.saturating_sub(started_us) / 1000;
        // What was just answered goes out in the next round, and only then is there time to sleep.
        if !stack.answer(now_us, about, uptime_ms) {
            let deadline_us = stack.deadline_us(now_us);
            stack.machine().wait(deadline_us);
        }
    }
}

/// Throws received frames away, so that a device that nobody listens to does not keep the guest awake.
fn drain(machine: &mut impl Machine) {
    let mut frame = [0; 64];
    while machine.receive(&mut frame).is_some() {}
}

fn say(machine: &mut impl Machine, line: fmt::Arguments<'_>) {
    let mut text = Line {
        bytes: [0; 160],
        length: 0,
    };
    // A line that is too long is cut.
    let _ = text.write_fmt(line);
    machine.print(text.as_str());
}

/// A line is collected first, so that it reaches the console in one piece.
struct Line {
    bytes: [u8; 160],
    length: usize,
}

impl Line {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let mut utf8 = [0; 4];
            let encoded = character.encode_utf8(&mut utf8).as_bytes();
            let end = self.length + encoded.len();
            self.bytes
                .get_mut(self.length..end)
                .ok_or(fmt::Error)?
                .copy_from_slice(encoded);
            self.length = end;
        }
        Ok(())
    }
}
