//! Streams that are an engine's FIFOs or files: opened here and given to the workload as they are, so that no byte of its passes through us.

use super::Ends;
use crate::error::{Context, Result};
use crate::path::HostPath;
use crate::plan;
use rustix::fs::{FileType, Mode, OFlags};
use std::os::fd::OwnedFd;

/// What is kept open beside the workload's own ends.
pub struct Held {
    /// Reading ends of its output: a writer whose reader goes away and comes back must not be killed in between.
    _readers: Vec<OwnedFd>,
    /// A writing end of its input, until the start: a program that begins before somebody writes must not see the end at once.
    input: Option<OwnedFd>,
}

impl Held {
    /// From now on the end of the input is its writer's.
    pub fn started(&mut self) {
        self.input = None;
    }
}

pub fn open(pipes: &plan::Pipes) -> Result<(Ends, Held)> {
    let mut readers = Vec::new();
    let (stdin, input) = match &pipes.stdin {
        Some(path) => {
            let held = is_fifo(path)?
                .then(|| open_at(path, OFlags::RDWR | OFlags::NONBLOCK))
                .transpose()?;
            (open_at(path, OFlags::RDONLY)?, held)
        }
        None => (null(OFlags::RDONLY)?, None),
    };
    let mut output = |path: &Option<HostPath>| match path {
        Some(path) => {
            if is_fifo(path)? {
                readers.push(open_at(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
            }
            open_at(path, OFlags::WRONLY | OFlags::APPEND)
        }
        None => null(OFlags::WRONLY),
    };
    let ends = Ends {
        stdin,
        stdout: output(&pipes.stdout)?,
        stderr: output(&pipes.stderr)?,
    };
    Ok((
        ends,
        Held {
            _readers: readers,
            input,
        },
    ))
}

fn is_fifo(path: &HostPath) -> Result<bool> {
    let stat = rustix::fs::stat(path.as_str()).or_system(|| format!("cannot look at {path}"))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// Opens without waiting: a FIFO's other end is open in us already.
fn open_at(path: &HostPath, flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open(
        path.as_str(),
        flags | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
    .or_system(|| format!("cannot open the stream {path}"))
}

fn null(flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty())
        .or_system(|| "cannot open /dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// FIFOs in a directory of the test's own.
    fn lab(name: &str) -> (std::path::PathBuf, plan::Pipes) {
        let dir = std::env::temp_dir().join(format!("tripod-pipes-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let fifo = |name: &str| {
            let path = dir.join(name);
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                FileType::Fifo,
                Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
            Some(HostPath::try_from(path.to_str().unwrap().to_string()).unwrap())
        };
        let pipes = plan::Pipes {
            stdin: fifo("in"),
            stdout: fifo("out"),
            stderr: None,
        };
        (dir, pipes)
    }

    #[test]
    fn a_writer_outlives_its_reader_and_a_reader_sees_the_end_with_the_last_writer() {
        let (dir, pipes) = lab("out");
        let (ends, held) = open(&pipes).unwrap();
        let mut out = std::fs::File::from(ends.stdout);
        // Nobody reads yet, and nobody is waited for.
        out.write_all(b"early ").unwrap();
        let mut reader = std::fs::File::open(dir.join("out")).unwrap();
        let mut text = [0u8; 6];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"early ");
        drop(reader);
        out.write_all(b"late").unwrap();
        let mut reader = std::fs::File::open(dir.join("out")).unwrap();
        drop(out);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "late");
        drop(held);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn input_is_open_until_the_start_and_then_its_writers_own() {
        let (dir, pipes) = lab("in");
        let (ends, mut held) = open(&pipes).unwrap();
        let mut input = std::fs::File::from(ends.stdin);
        let mut writer = std::fs::OpenOptions::new()
            .write(true)
            .open(dir.join("in"))
            .unwrap();
        held.started();
        writer.write_all(b"typed").unwrap();
        drop(writer);
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        assert_eq!(text, "typed");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
