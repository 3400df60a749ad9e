//! The command line of `unpack`.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// What one layer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of content, extended attributes included; 32 GiB unless told.
    pub max_bytes: u64,
    /// Headers in the stream, and directories made because an entry's parents were missing; 2 000 000 unless told.
    pub max_entries: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_bytes: 32 << 30,
            max_entries: 2_000_000,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub into: PathBuf,
    /// The unpacked layers below, topmost first.
    pub lowers: Vec<PathBuf>,
    pub limits: Limits,
}

impl Arguments {
    /// `--into DIR [--lower DIR]… [--max-bytes N] [--max-entries N]`, each also as `--name=value`.
    pub fn parse(args: &[String]) -> Result<Arguments> {
        let usage = |problem: String| {
            let usage = "usage: tripod-warden unpack --into DIR [--lower DIR]... [--max-bytes N] [--max-entries N] < layer.tar";
            Error::new("usage", format!("{problem}; {usage}"))
        };
        let (mut into, mut lowers, mut limits) = (None, Vec::new(), Limits::default());
        let mut rest = args.iter();
        while let Some(argument) = rest.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (argument.as_str(), None),
            };
            let mut value = || {
                value
                    .clone()
                    .or_else(|| rest.next().cloned())
                    .ok_or(usage(format!("{name} needs a value")))
            };
            let count = |text: String| match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(usage(format!(
                    "{name} needs a whole number above 0, not {text:?}"
                ))),
            };
            match name {
                "--into" => into = Some(PathBuf::from(value()?)),
                "--lower" => lowers.push(PathBuf::from(value()?)),
                "--max-bytes" => limits.max_bytes = count(value()?)?,
                "--max-entries" => limits.max_entries = count(value()?)?,
                _ => return Err(usage(format!("unknown argument {argument:?}"))),
            }
        }
        let into = into.ok_or(usage("--into is missing".into()))?;
        Ok(Arguments { into, lowers, limits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(&line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn both_spellings_and_the_defaults_are_understood() {
        let arguments = parse("--into /a --lower /c --max-bytes=5 --lower=/b").expect("arguments");
        assert_eq!(arguments.into, PathBuf::from("/a"));
        assert_eq!(arguments.lowers, [PathBuf::from("/c"), PathBuf::from("/b")]);
        assert_eq!(
            arguments.limits,
            Limits {
                max_bytes: 5,
                max_entries: 2_000_000
            }
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, named) in [
            ("", "--into"),
            ("--into", "--into"),
            ("--into /a --fast", "--fast"),
            ("--into /a --max-bytes 0", "\"0\""),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.code == "usage" && error.message.contains(named), "{error}");
        }
    }
}
