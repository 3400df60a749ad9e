//! The boot line: words separated by blanks, `key=value`. Words that are not ours are left alone, since monitors add
//! their own (`virtio_mmio.device=…`); of one given twice the last counts.

use core::net::Ipv4Addr;
use core::str;

/// Most bytes of `hostname=`.
pub const HOSTNAME_LIMIT: usize = 63;
/// Most bytes of `monitor=`.
pub const MONITOR_LIMIT: usize = 31;

/// The port when none is given.
pub const DEFAULT_PORT: u16 = 80;

/// How the server gets its address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// No `ip=`: there is no network.
    None,
    /// `ip=dhcp`.
    Dhcp,
    /// `ip=10.0.0.2/24`.
    Static { ip: Ipv4Addr, prefix: u8 },
}

/// A boot line, read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Boot<'a> {
    pub address: Address,
    /// `gateway=10.0.0.1`: the default route. It need not lie in the address's own network.
    pub gateway: Option<Ipv4Addr>,
    /// `port=80`, TCP, 1…65535.
    pub port: u16,
    /// `monitor=spt`: what to call the monitor.
    pub monitor: Option<&'a str>,
    /// `hostname=web-1`: shown, and told to a DHCP server.
    pub hostname: Option<&'a str>,
    /// `exit=0`: end with this status once the first line is printed. For measuring starts.
    pub exit: Option<u8>,
}

/// A word of ours with a value that it cannot have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadWord<'a> {
    pub word: &'a str,
    /// What the value must be.
    pub wants: &'static str,
}

impl<'a> Boot<'a> {
    /// What holds without a boot line.
    pub const fn new() -> Self {
        Self {
            address: Address::None,
            gateway: None,
            port: DEFAULT_PORT,
            monitor: None,
            hostname: None,
            exit: None,
        }
    }

    /// Reads a whole boot line.
    ///
    /// # Errors
    /// The first word whose value is not as [`Boot`] says.
    pub fn parse(line: &'a [u8]) -> Result<Self, BadWord<'a>> {
        let mut boot = Self::new();
        for word in line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
        {
            // What is not text is not a word of ours.
            if let Ok(word) = str::from_utf8(word) {
                boot.add(word)?;
            }
        }
        Ok(boot)
    }

    /// Takes one word.
    ///
    /// # Errors
    /// If it is ours and its value is not as [`Boot`] says.
    pub fn add(&mut self, word: &'a str) -> Result<(), BadWord<'a>> {
        let Some((key, value)) = word.split_once('=') else {
            return Ok(());
        };
        let bad = |wants| BadWord { word, wants };
        match key {
            "ip" => {
                self.address = parse_address(value)
                    .ok_or_else(|| bad("an IPv4 address with prefix, as 10.0.0.2/24, or dhcp"))?
            }
            "gateway" => self.gateway = Some(value.parse().map_err(|_| bad("an IPv4 address"))?),
            "port" => {
                self.port = value
                    .parse()
                    .ok()
                    .filter(|&port| port > 0)
                    .ok_or_else(|| bad("a number from 1 to 65535"))?
            }
            "monitor" => {
                self.monitor = Some(
                    parse_name(value, MONITOR_LIMIT)
                        .ok_or_else(|| bad("at most 31 letters, digits, '.', '-' or '_'"))?,
                )
            }
            "hostname" => {
                self.hostname = Some(
                    parse_name(value, HOSTNAME_LIMIT)
                        .ok_or_else(|| bad("at most 63 letters, digits, '.', '-' or '_'"))?,
                )
            }
            "exit" => self.exit = Some(value.parse().map_err(|_| bad("a number from 0 to 255"))?),
            _ => {}
        }
        Ok(())
    }
}

impl Default for Boot<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// An address without a prefix stands alone, as in a point-to-point network.
fn parse_address(value: &str) -> Option<Address> {
    if value == "dhcp" {
        return Some(Address::Dhcp);
    }
    let (ip, prefix) = value.split_once('/').unwrap_or((value, "32"));
    let (ip, prefix): (Ipv4Addr, u8) = (ip.parse().ok()?, prefix.parse().ok()?);
    let is_host = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_loopback();
    (is_host && (1..=32).contains(&prefix)).then_some(Address::Static { ip, prefix })
}

/// Only what neither JSON nor HTTP would have to escape.
fn parse_name(value: &str, limit: usize) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!value.is_empty() && value.len() <= limit && value.bytes().all(is_plain)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_line_is_read_and_foreign_words_are_left_alone() {
        let line = b" ip=10.0.0.2/24 gateway=10.0.0.1\tport=8080 monitor=spt hostname=web-1 exit=3 quiet virtio_mmio.device=4K@0xc0001000:5 \xff= ";
        assert_eq!(
            Boot::parse(line),
            Ok(Boot {
                address: Address::Static {
                    ip: Ipv4Addr::new(10, 0, 0, 2),
                    prefix: 24
                },
                gateway: Some(Ipv4Addr::new(10, 0, 0, 1)),
                port: 8080,
                monitor: Some("spt"),
                hostname: Some("web-1"),
                exit: Some(3),
            })
        );
    }

    #[test]
    fn an_empty_line_means_no_network_and_port_80() {
        assert_eq!(Boot::parse(b""), Ok(Boot::new()));
        assert_eq!(Boot::new().port, 80);
    }

    #[test]
    fn dhcp_and_a_lone_address_are_addresses() {
        assert_eq!(Boot::parse(b"ip=dhcp").unwrap().address, Address::Dhcp);
        let lone = Address::Static {
            ip: Ipv4Addr::new(10, 1, 2, 3),
            prefix: 32,
        };
        assert_eq!(Boot::parse(b"ip=10.1.2.3").unwrap().address, lone);
    }

    #[test]
    fn of_a_word_given_twice_the_last_counts() {
        assert_eq!(Boot::parse(b"port=1 port=2").unwrap().port, 2);
    }

    #[test]
    fn a_value_that_cannot_be_is_an_error_that_names_the_word() {
        let long = ["hostname=", &"a".repeat(HOSTNAME_LIMIT + 1)].concat();
        for word in [
            "ip=",
            "ip=10.0.0.2/0",
            "ip=10.0.0.2/33",
            "ip=10.0.0/24",
            "ip=0.0.0.0/8",
            "ip=224.0.0.1/4",
            "ip=255.255.255.255",
            "gateway=x",
            "port=0",
            "port=65536",
            "port=-1",
            "monitor=",
            "monitor=a\"b",
            "hostname=a\\b",
            &long,
            "exit=256",
        ] {
            assert_eq!(Boot::parse(word.as_bytes()).unwrap_err().word, word);
        }
    }
}
