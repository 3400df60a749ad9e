//! What the host says by the environment: the kernel passes every `NAME=value` of its command line that it does not know.

use alloc::borrow::ToOwned;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;

#[derive(Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// `URUNIT_CONFIG=/urunit.conf`.
    pub config: Option<CString>,
    /// `URUNIT_DEFROUTE=1`: everything is reached directly over eth0.
    pub default_route: bool,
    /// `TRIPOD_WORDS=verbatim`: the words are as the kernel gave them.
    pub verbatim: bool,
    /// `TRIPOD_POWEROFF=1`: the monitor waits for power off, not for a restart.
    pub power_off: bool,
    /// `TRIPOD_EXIT_PORT=0x501`: an I/O port that takes the status.
    pub exit_port: Option<u16>,
    /// `TRIPOD_EXIT_FILE=/dev/vport0p1`: a file that takes the status as a line.
    pub exit_file: Option<CString>,
}

const OURS: [&[u8]; 6] = [
    b"URUNIT_CONFIG",
    b"URUNIT_DEFROUTE",
    b"TRIPOD_WORDS",
    b"TRIPOD_POWEROFF",
    b"TRIPOD_EXIT_PORT",
    b"TRIPOD_EXIT_FILE",
];

impl Settings {
    /// Takes what the environment says; a mistake does not hide the rest, so that it can be told where the host listens.
    ///
    /// # Errors
    /// A sentence, at the first value that cannot be.
    pub fn read(&mut self, environment: &[&CStr]) -> Result<(), String> {
        let mut outcome = Ok(());
        for variable in environment {
            if let Some((name, value)) = ours(variable)
                && let Err(wanted) = self.take(name, value)
            {
                outcome = outcome.and(Err(format!(
                    "{} wants {wanted}",
                    variable.to_bytes().escape_ascii()
                )));
            }
        }
        outcome
    }

    /// Returns what the value must be where it cannot be.
    fn take(&mut self, name: &[u8], value: &CStr) -> Result<(), &'static str> {
        let path = || match value.to_bytes() {
            [b'/', ..] => Ok(Some(value.to_owned())),
            _ => Err("an absolute path"),
        };
        match (name, value.to_bytes()) {
            (b"URUNIT_CONFIG", _) => self.config = path()?,
            (b"TRIPOD_EXIT_FILE", _) => self.exit_file = path()?,
            // Set is set, as urunit has it.
            (b"URUNIT_DEFROUTE", _) => self.default_route = true,
            (b"TRIPOD_WORDS", b"verbatim") => self.verbatim = true,
            (b"TRIPOD_WORDS", _) => return Err("verbatim"),
            (b"TRIPOD_POWEROFF", b"1") => self.power_off = true,
            (b"TRIPOD_POWEROFF", _) => return Err("1"),
            _ => self.exit_port = Some(port(value).ok_or("a port, such as 0x501")?),
        }
        Ok(())
    }
}

/// Name and value of a variable that is for this program.
fn ours(variable: &CStr) -> Option<(&[u8], &CStr)> {
    let bytes = variable.to_bytes_with_nul();
    let at = bytes.iter().position(|&byte| byte == b'=')?;
    let value = CStr::from_bytes_with_nul(&bytes[at + 1..]).ok()?;
    OURS.contains(&&bytes[..at]).then_some((&bytes[..at], value))
}

fn port(value: &CStr) -> Option<u16> {
    let text = value.to_str().ok()?;
    text.strip_prefix("0x").map_or_else(
        || text.parse().ok(),
        |digits| u16::from_str_radix(digits, 16).ok(),
    )
}

/// The kernel's environment without what is said to this program.
pub fn environment_of_program(environment: &[&CStr]) -> Vec<CString> {
    environment
        .iter()
        .filter(|variable| ours(variable).is_none())
        .map(|&variable| variable.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[&CStr]) -> (Settings, Result<(), String>) {
        let mut settings = Settings::default();
        let outcome = settings.read(environment);
        (settings, outcome)
    }

    #[test]
    fn every_setting_is_read_and_the_rest_is_left_alone() {
        let settings = read(&[
            c"HOME=/",
            c"URUNIT_CONFIG=/urunit.conf",
            c"URUNIT_DEFROUTE=1",
            c"TRIPOD_WORDS=verbatim",
            c"TRIPOD_POWEROFF=1",
            c"TRIPOD_EXIT_PORT=0x501",
            c"TRIPOD_EXIT_FILE=/dev/ttyS1",
            c"no variable",
        ]);
        let expected = Settings {
            config: Some(c"/urunit.conf".to_owned()),
            default_route: true,
            verbatim: true,
            power_off: true,
            exit_port: Some(0x501),
            exit_file: Some(c"/dev/ttyS1".to_owned()),
        };
        assert_eq!(settings, (expected, Ok(())));
        assert_eq!(read(&[c"TERM=linux"]), (Settings::default(), Ok(())));
        let (decimal, _) = read(&[c"TRIPOD_EXIT_PORT=244"]);
        assert_eq!(decimal.exit_port, Some(244));
    }

    #[test]
    fn a_value_that_cannot_be_is_an_error_and_hides_no_other() {
        for variable in [
            c"URUNIT_CONFIG=",
            c"URUNIT_CONFIG=urunit.conf",
            c"TRIPOD_WORDS=1",
            c"TRIPOD_POWEROFF=yes",
            c"TRIPOD_EXIT_PORT=0x10000",
            c"TRIPOD_EXIT_PORT=-1",
            c"TRIPOD_EXIT_FILE=ttyS1",
        ] {
            let (settings, outcome) = read(&[variable, c"URUNIT_DEFROUTE=1"]);
            assert!(settings.default_route);
            let why = outcome.err().unwrap_or_default();
            let begins = format!("{} wants ", variable.to_string_lossy());
            assert!(why.starts_with(&begins), "{why}");
        }
    }

    #[test]
    fn the_program_sees_nothing_that_was_said_to_us() {
        let environment = [c"HOME=/", c"TRIPOD_EXIT_PORT=1", c"URUNIT_CONFIG=/c", c"A=b=c"];
        let seen = environment_of_program(&environment);
        assert_eq!(seen, [c"HOME=/".to_owned(), c"A=b=c".to_owned()]);
    }
}
