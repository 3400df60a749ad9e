//! The command line: Solo5's own, with descriptors (`@N`) and an MTU besides.
//!
//! `PROG [options] [--] KERNEL [args]`; options are `--name=value` in one word. What follows KERNEL is the guest's.

mod options;

pub use options::{Refusal, Settings, interpret, kvm_fd};

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Help,
    Version,
    /// Options that nothing follows.
    NoKernel,
    /// Options are interpreted after the kernel's notes have been read: they speak of its devices.
    Run {
        options: Vec<&'a OsStr>,
        kernel: &'a OsStr,
        args: &'a [OsString],
    },
}

/// Sorts the arguments after the program's name.
pub fn parse(args: &[OsString]) -> Command<'_> {
    let mut options = Vec::new();
    let mut rest = args;
    while let [first, after @ ..] = rest {
        match first.as_bytes() {
            b"--help" => return Command::Help,
            b"--version" => return Command::Version,
            b"--" => {
                rest = after;
                break;
            }
            [b'-', ..] => options.push(first.as_os_str()),
            _ => break,
        }
        rest = after;
    }
    match rest {
        [kernel, args @ ..] => Command::Run {
            options,
            kernel,
            args,
        },
        [] => Command::NoKernel,
    }
}

/// The usage text, without the program's name in front.
pub fn usage(program: &str) -> String {
    format!(
        "usage: {program} [ CORE OPTIONS ] [ MODULE OPTIONS ] [ -- ] KERNEL [ ARGS ]
       {program} probe-kvm [ --kvm=@FD ]
KERNEL is the filename of the unikernel to run, or @FD for an open file.
ARGS are optional arguments passed to the unikernel.
Core options:
  [ --mem=512 ] (guest memory in MB)
  [ --kvm=@FD ] (use an open /dev/kvm; hvt only)
  [ --ready=@FD ] (write a line there when the guest is about to begin)
  [ --x-exec-heap ] (make the heap executable; spt only, dangerous)
    --help (display this help)
    --version (display version information)
Compiled-in modules: net block
    --net:NAME=IFACE | @FD (attach tap at host IFACE, or at open file descriptor FD)
  [ --net-mac:NAME=HWADDR ] (set HWADDR, default is random)
  [ --net-mtu:NAME=MTU ] (default is the interface's, else 1500)
    --block:NAME=PATH | @FD (attach block device or file at PATH, or open for reading and writing at FD)
  [ --block-sector-size:NAME=SECTORSIZE ] (set the sector size, default is 512)
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_follows_the_kernel_is_the_guests() {
        let args = os(&["--mem=2", "k", "--mem=3", "--help"]);
        let expected = Command::Run {
            options: vec![OsStr::new("--mem=2")],
            kernel: OsStr::new("k"),
            args: &args[2..],
        };
        assert_eq!(parse(&args), expected);
    }

    #[test]
    fn two_dashes_end_the_options_once() {
        let args = os(&["--", "-k", "--", "x"]);
        assert_eq!(
            parse(&args),
            Command::Run {
                options: vec![],
                kernel: OsStr::new("-k"),
                args: &args[2..]
            }
        );
        assert_eq!(parse(&os(&["--mem=2", "--"])), Command::NoKernel);
        assert_eq!(parse(&[]), Command::NoKernel);
    }

    #[test]
    fn help_and_version_win_only_before_the_kernel() {
        assert_eq!(parse(&os(&["--bad", "--version", "--help"])), Command::Version);
        assert_eq!(parse(&os(&["--help", "k"])), Command::Help);
    }
}
