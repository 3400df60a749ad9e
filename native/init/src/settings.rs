//! What the host says by the environment: the kernel passes every `NAME=value` of its command line that it does not know.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

#[derive(Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// `URUNIT_CONFIG=/urunit.conf`.
    pub config: Option<PathBuf>,
    /// `URUNIT_DEFROUTE=1`: everything is reached directly over eth0.
    pub default_route: bool,
    /// `TRIPOD_WORDS=verbatim`: the words are as the kernel gave them.
    pub verbatim: bool,
    /// `TRIPOD_POWEROFF=1`: the monitor waits for power off, not for a restart.
    pub power_off: bool,
    /// `TRIPOD_EXIT_PORT=0x501`: an I/O port that takes the status.
    pub exit_port: Option<u16>,
    /// `TRIPOD_EXIT_FILE=/dev/vport0p1`: a file that takes the status as a line.
    pub exit_file: Option<PathBuf>,
}

const OURS: [&str; 6] = [
    "URUNIT_CONFIG",
    "URUNIT_DEFROUTE",
    "TRIPOD_WORDS",
    "TRIPOD_POWEROFF",
    "TRIPOD_EXIT_PORT",
    "TRIPOD_EXIT_FILE",
];

impl Settings {
    /// # Errors
    /// A sentence, at a value that cannot be.
    pub fn read(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| OURS.contains(name)) else {
                continue;
            };
            let is_path = value.as_bytes().starts_with(b"/");
            let wants = |what| format!("{name}={} wants {what}", value.display());
            match name {
                "URUNIT_CONFIG" if is_path => settings.config = Some(value.into()),
                "TRIPOD_EXIT_FILE" if is_path => settings.exit_file = Some(value.into()),
                "URUNIT_CONFIG" | "TRIPOD_EXIT_FILE" => return Err(wants("an absolute path")),
                // Set is set, as urunit has it.
                "URUNIT_DEFROUTE" => settings.default_route = true,
                "TRIPOD_WORDS" if value == "verbatim" => settings.verbatim = true,
                "TRIPOD_WORDS" => return Err(wants("verbatim")),
                "TRIPOD_POWEROFF" if value == "1" => settings.power_off = true,
                "TRIPOD_POWEROFF" => return Err(wants("1")),
                _ => settings.exit_port = Some(port(&value).ok_or_else(|| wants("a port, such as 0x501"))?),
            }
        }
        Ok(settings)
    }
}

fn port(value: &OsStr) -> Option<u16> {
    let text = value.to_str()?;
    text.strip_prefix("0x").map_or_else(
        || text.parse().ok(),
        |digits| u16::from_str_radix(digits, 16).ok(),
    )
}

/// The kernel's environment without what is said to this program.
pub fn environment_of_program(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
    environment
        .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
        .filter_map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(words.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn every_setting_is_read_and_the_rest_is_left_alone() {
        let settings = read(&[
            ("HOME", "/"),
            ("URUNIT_CONFIG", "/urunit.conf"),
            ("URUNIT_DEFROUTE", "1"),
            ("TRIPOD_WORDS", "verbatim"),
            ("TRIPOD_POWEROFF", "1"),
            ("TRIPOD_EXIT_PORT", "0x501"),
            ("TRIPOD_EXIT_FILE", "/dev/ttyS1"),
        ]);
        let expected = Settings {
            config: Some("/urunit.conf".into()),
            default_route: true,
            verbatim: true,
            power_off: true,
            exit_port: Some(0x501),
            exit_file: Some("/dev/ttyS1".into()),
        };
        assert_eq!(settings, Ok(expected));
        assert_eq!(read(&[("TERM", "linux")]), Ok(Settings::default()));
        assert_eq!(
            read(&[("TRIPOD_EXIT_PORT", "244")]).map(|settings| settings.exit_port),
            Ok(Some(244))
        );
    }

    #[test]
    fn a_value_that_cannot_be_is_an_error() {
        for (name, value) in [
            ("URUNIT_CONFIG", ""),
            ("URUNIT_CONFIG", "urunit.conf"),
            ("TRIPOD_WORDS", "1"),
            ("TRIPOD_POWEROFF", "yes"),
            ("TRIPOD_EXIT_PORT", "0x10000"),
            ("TRIPOD_EXIT_PORT", "-1"),
            ("TRIPOD_EXIT_FILE", "ttyS1"),
        ] {
            let why = read(&[(name, value)]).err().unwrap_or_default();
            assert!(why.starts_with(&format!("{name}={value} wants ")), "{why}");
        }
    }

    #[test]
    fn the_program_sees_nothing_that_was_said_to_us() {
        let environment = [
            ("HOME", "/"),
            ("TRIPOD_EXIT_PORT", "1"),
            ("URUNIT_CONFIG", "/c"),
            ("A", "b=c"),
        ];
        let seen = environment_of_program(
            environment
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        assert_eq!(seen, [c"HOME=/".to_owned(), c"A=b=c".to_owned()]);
    }
}
