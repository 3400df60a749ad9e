//! What is served: `/` says how and for how long the server has been running, `/healthz` that it does.

use core::fmt::{self, Write};

/// What the server knows of itself. The words come from the boot line, which bounds them (see [`crate::boot`]), and hold
/// nothing that JSON would have to escape.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// `container` or `unikernel`.
    pub mode: &'a str,
    /// The program that holds the guest, as the boot line names it; none in a container.
    pub monitor: Option<&'a str>,
    pub hostname: Option<&'a str>,
}

/// A page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Page {
    Root,
    Health,
}

impl Page {
    /// The page of a path, if there is one.
    pub fn at(path: &[u8]) -> Option<Self> {
        match path {
            b"/" => Some(Self::Root),
            b"/healthz" => Some(Self::Health),
            _ => None,
        }
    }

    /// Whether the page also exists as JSON.
    pub fn has_json(self) -> bool {
        self == Self::Root
    }

    /// Writes the page as lines of text, or as one line of JSON.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(self, to: &mut impl Write, about: &About<'_>, uptime_ms: u64, as_json: bool) -> fmt::Result {
        let (seconds, millis) = (uptime_ms / 1000, uptime_ms % 1000);
        if self == Self::Health {
            return to.write_str("ok\n");
        }
        if as_json {
            write!(to, r#"{{"name":"httpreply","mode":"{}""#, about.mode)?;
            if let Some(monitor) = about.monitor {
                write!(to, r#","monitor":"{monitor}""#)?;
            }
            if let Some(hostname) = about.hostname {
                write!(to, r#","hostname":"{hostname}""#)?;
            }
            return writeln!(to, r#","uptimeSeconds":{seconds}.{millis:03}}}"#);
        }
        writeln!(to, "httpreply\nmode: {}", about.mode)?;
        if let Some(monitor) = about.monitor {
            writeln!(to, "monitor: {monitor}")?;
        }
        if let Some(hostname) = about.hostname {
            writeln!(to, "hostname: {hostname}")?;
        }
        writeln!(to, "uptime: {seconds}.{millis:03} s")
    }
}
