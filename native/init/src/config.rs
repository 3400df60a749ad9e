//! The configuration in urunit's format: up to three sections, in this order, each between its two markers on lines of
//! their own.
//!
//! ```text
//! UES                 the environment
//! NAME=value          any number
//! UEE
//! UCS                 the process
//! UID:1000            each of the three at most once
//! GID:1000
//! WD:/srv
//! UCE
//! UBS                 disks to mount
//! ID:vol0             by serial number; `FC…` by order
//! MP:/data
//! UBE
//! ```

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt;

/// A configuration, read. What a section that is missing would say is empty or none.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Config {
    /// `NAME=value`, in the file's order; empty: the kernel's environment is the program's.
    pub environment: Vec<CString>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub directory: Option<CString>,
    pub disks: Vec<Disk>,
}

/// A disk and where it is mounted.
#[derive(Debug, Eq, PartialEq)]
pub struct Disk {
    pub id: Vec<u8>,
    /// Absolute.
    pub mount_point: CString,
}

/// Why a file is no configuration.
#[derive(Debug, Eq, PartialEq)]
pub struct Malformed {
    /// From 1 on.
    pub line: usize,
    pub why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl Config {
    /// Reads a whole file. NULs at its end are padding.
    ///
    /// # Errors
    /// At the first line that is not as the format has it, and where a section does not end.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let padding = file.iter().rev().take_while(|&&byte| byte == 0).count();
        let mut lines = Lines {
            rest: &file[..file.len() - padding],
            number: 0,
        };
        let mut config = Self::default();
        let mut sections = 0;
        while let Some(line) = lines.next() {
            let section = match line {
                b"" => continue,
                b"UES" => 1,
                b"UCS" => 2,
                b"UBS" => 3,
                _ => return Err(lines.error("wants UES, UCS or UBS, which begin a section")),
            };
            if section <= sections {
                return Err(lines.error("this section comes too late or twice: the order is UES, UCS, UBS"));
            }
            sections = section;
            match section {
                1 => config.read_environment(&mut lines)?,
                2 => config.read_process(&mut lines)?,
                _ => config.read_disks(&mut lines)?,
            }
        }
        Ok(config)
    }

    fn read_environment(&mut self, lines: &mut Lines<'_>) -> Result<(), Malformed> {
        loop {
            let line = lines.within("the section has no end: UEE")?;
            if line == b"UEE" {
                return Ok(());
            }
            if matches!(line.iter().position(|&byte| byte == b'='), None | Some(0)) {
                return Err(lines.error("wants NAME=value"));
            }
            self.environment.push(lines.text(line)?);
        }
    }

    fn read_process(&mut self, lines: &mut Lines<'_>) -> Result<(), Malformed> {
        loop {
            let line = lines.within("the section has no end: UCE")?;
            let is_first = if line == b"UCE" {
                return Ok(());
            } else if let Some(value) = value_of(line, b"UID:") {
                self.uid.replace(lines.number(value)?).is_none()
            } else if let Some(value) = value_of(line, b"GID:") {
                self.gid.replace(lines.number(value)?).is_none()
            } else if let Some(value) = value_of(line, b"WD:") {
                if value.is_empty() {
                    return Err(lines.error("WD: wants a directory"));
                }
                self.directory.replace(lines.text(value)?).is_none()
            } else {
                return Err(lines.error("wants UID:, GID:, WD: or UCE"));
            };
            if !is_first {
                return Err(lines.error("is given twice"));
            }
        }
    }

    fn read_disks(&mut self, lines: &mut Lines<'_>) -> Result<(), Malformed> {
        loop {
            let line = lines.within("the section has no end: UBE")?;
            if line == b"UBE" {
                return Ok(());
            }
            let id = value_of(line, b"ID:").ok_or_else(|| lines.error("wants ID: or UBE"))?;
            if id.is_empty() {
                return Err(lines.error("ID: wants a serial number"));
            }
            let line = lines.within("the disk has no mount point")?;
            let mount_point = value_of(line, b"MP:").ok_or_else(|| lines.error("wants MP:"))?;
            if !mount_point.starts_with(b"/") {
                return Err(lines.error("MP: wants an absolute path"));
            }
            self.disks.push(Disk {
                id: id.to_vec(),
                mount_point: lines.text(mount_point)?,
            });
        }
    }
}

/// What follows a key and any blanks.
fn value_of<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(key).map(<[u8]>::trim_ascii_start)
}

struct Lines<'a> {
    rest: &'a [u8],
    /// Of the line that was given last.
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        Some(line)
    }

    fn within(&mut self, without: &'static str) -> Result<&'a [u8], Malformed> {
        self.next().ok_or_else(|| self.error(without))
    }

    fn number(&self, value: &[u8]) -> Result<u32, Malformed> {
        let is_decimal = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = core::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        number
            // The last one means "leave it" to the system calls.
            .filter(|&number| is_decimal && number != u32::MAX)
            .ok_or_else(|| self.error("wants a number from 0 to 4294967294"))
    }

    fn text(&self, value: &[u8]) -> Result<CString, Malformed> {
        CString::new(value).map_err(|_| self.error("holds a NUL"))
    }

    fn error(&self, why: &'static str) -> Malformed {
        Malformed {
            line: self.number.max(1),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"UES\nPATH=/bin:/usr/bin\nEMPTY=\nTEXT=a b=c 'd' \"e\"\nUEE\nUCS\nUID:1000\nGID: 1001\nWD:/srv/a b\nUCE\nUBS\nID:vol0\nMP:/data\nID:FC0\nMP: /more\nUBE\n";

    fn text(value: &str) -> CString {
        CString::new(value).unwrap_or_default()
    }

    fn whole() -> Config {
        Config {
            environment: ["PATH=/bin:/usr/bin", "EMPTY=", "TEXT=a b=c 'd' \"e\""]
                .map(text)
                .into(),
            uid: Some(1000),
            gid: Some(1001),
            directory: Some(text("/srv/a b")),
            disks: [("vol0", "/data"), ("FC0", "/more")]
                .map(|(id, mount_point)| Disk {
                    id: id.into(),
                    mount_point: text(mount_point),
                })
                .into(),
        }
    }

    fn failure(file: &[u8]) -> (usize, &'static str) {
        match Config::parse(file) {
            Ok(config) => panic!("{config:?}"),
            Err(Malformed { line, why }) => (line, why),
        }
    }

    #[test]
    fn every_section_is_read() {
        assert_eq!(Config::parse(WHOLE), Ok(whole()));
    }

    #[test]
    fn padding_blank_lines_and_a_missing_last_newline_change_nothing() {
        let padded = [b"\n\n", WHOLE, b"\n\0\0\0"].concat();
        assert_eq!(Config::parse(&padded), Ok(whole()));
        assert_eq!(Config::parse(&WHOLE[..WHOLE.len() - 1]), Ok(whole()));
    }

    #[test]
    fn sections_may_be_missing_or_empty() {
        assert_eq!(Config::parse(b""), Ok(Config::default()));
        assert_eq!(Config::parse(b"UES\nUEE\nUBS\nUBE\n"), Ok(Config::default()));
        let root = Config::parse(b"UCS\nUID:0\nUCE\n").map(|config| config.uid);
        assert_eq!(root, Ok(Some(0)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert_eq!(failure(b"UES\nA=b\n"), (2, "the section has no end: UEE"));
        assert_eq!(failure(b"UES\nA\nUEE"), (2, "wants NAME=value"));
        assert_eq!(failure(b"UES\n=a\nUEE"), (2, "wants NAME=value"));
        assert_eq!(failure(b"UES\nA=\0b\nUEE"), (2, "holds a NUL"));
        assert_eq!(failure(b"UCS\nUID:1\nWD: \nUCE"), (3, "WD: wants a directory"));
        assert_eq!(failure(b"UCS\nUID:1\nUID:1\nUCE"), (3, "is given twice"));
        assert_eq!(failure(b"UCS\nHOME:/\nUCE"), (2, "wants UID:, GID:, WD: or UCE"));
        for number in ["", "-1", "+1", "0x1", "1 ", "4294967295", "99999999999999999999"] {
            let file = format!("UCS\nGID:{number}\nUCE");
            assert_eq!(
                failure(file.as_bytes()),
                (2, "wants a number from 0 to 4294967294")
            );
        }
        assert_eq!(failure(b"UBS\nMP:/a\nUBE"), (2, "wants ID: or UBE"));
        assert_eq!(failure(b"UBS\nID:\nMP:/a\nUBE"), (2, "ID: wants a serial number"));
        assert_eq!(failure(b"UBS\nID:a"), (2, "the disk has no mount point"));
        assert_eq!(failure(b"UBS\nID:a\nID:b\nUBE"), (3, "wants MP:"));
        assert_eq!(
            failure(b"UBS\nID:a\nMP:data\nUBE"),
            (3, "MP: wants an absolute path")
        );
        assert_eq!(
            failure(b"{}"),
            (1, "wants UES, UCS or UBS, which begin a section")
        );
        let late = (
            3,
            "this section comes too late or twice: the order is UES, UCS, UBS",
        );
        assert_eq!(failure(b"UCS\nUCE\nUES\nUEE"), late);
        assert_eq!(failure(b"UCS\nUCE\nUCS\nUCE"), late);
    }

    #[test]
    fn a_file_that_is_cut_short_is_never_taken_for_another() {
        for length in 0..WHOLE.len() - 1 {
            if let Ok(config) = Config::parse(&WHOLE[..length]) {
                // Only between sections can a shorter file be whole.
                let is_between =
                    length == 0 || WHOLE[..length].ends_with(b"E") || WHOLE[..length].ends_with(b"E\n");
                assert!(is_between, "{length} {config:?}");
            }
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic_or_read_what_is_not_there() {
        for at in 0..WHOLE.len() {
            for byte in [0, b'\n', b':', b'=', b' ', b'U', b'E', b'9', 0x80, 0xff] {
                let mut file = WHOLE.to_vec();
                file[at] = byte;
                match Config::parse(&file) {
                    Ok(config) => assert!(config.environment.len() <= 4 && config.disks.len() <= 2),
                    Err(Malformed { line, .. }) => assert!((1..=17).contains(&line)),
                }
            }
        }
    }

    #[test]
    fn whatever_is_written_is_read_again() {
        // A small generator of numbers stands for a library: the cases are the same in every run.
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let mut bytes = |least: u64| -> Vec<u8> {
                (0..least + random(12))
                    .map(|_| (random(255) + 1) as u8)
                    .filter(|&byte| byte != b'\n')
                    .collect()
            };
            let environment: Vec<CString> = (0..3)
                .filter_map(|at| CString::new([format!("V{at}=").into_bytes(), bytes(0)].concat()).ok())
                .collect();
            let disks: Vec<Disk> = (0..2)
                .filter_map(|at| {
                    let id = [format!("v{at}").into_bytes(), bytes(0)].concat();
                    let mount_point = CString::new([b"/".to_vec(), bytes(0)].concat()).ok()?;
                    Some(Disk { id, mount_point })
                })
                .collect();
            let directory = CString::new([b"/".to_vec(), bytes(0)].concat()).ok();
            let written = Config {
                environment,
                uid: Some(random(1 << 31) as u32),
                gid: Some(random(1 << 31) as u32),
                directory,
                disks,
            };
            assert_eq!(Config::parse(&write(&written)).as_ref(), Ok(&written));
        }
    }

    fn write(config: &Config) -> Vec<u8> {
        let mut file = b"UES\n".to_vec();
        let mut add = |parts: &[&[u8]]| {
            for part in parts {
                file.extend_from_slice(part);
            }
            file.push(b'\n');
        };
        for variable in &config.environment {
            add(&[variable.to_bytes()]);
        }
        add(&[b"UEE\nUCS"]);
        add(&[b"UID:", config.uid.unwrap_or(0).to_string().as_bytes()]);
        add(&[b"GID:", config.gid.unwrap_or(0).to_string().as_bytes()]);
        add(&[b"WD:", config.directory.as_deref().unwrap_or_default().to_bytes()]);
        add(&[b"UCE\nUBS"]);
        for disk in &config.disks {
            add(&[b"ID:", &disk.id]);
            add(&[b"MP:", disk.mount_point.to_bytes()]);
        }
        add(&[b"UBE"]);
        file
    }
}
