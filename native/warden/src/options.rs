//! The options that `serve` and `undo` share.

use crate::error::{Error, Result};
use std::path::PathBuf;

/// `--dir <state directory> --lib <lib directory>`, both absolute, and `--console`: descriptor 4 is where an engine waits for the terminal.
#[derive(Debug, PartialEq)]
pub struct Options {
    pub dir: PathBuf,
    pub lib: PathBuf,
    pub console: bool,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Result<Options> {
        let (mut dir, mut lib, mut console) = (None, None, false);
        let mut arguments = arguments.iter();
        while let Some(option) = arguments.next() {
            let slot = match option.as_str() {
                "--dir" => &mut dir,
                "--lib" => &mut lib,
                "--console" => {
                    console = true;
                    continue;
                }
                other => return Err(Error::bad_request(format!("option {other:?} is not known"))),
            };
            let value = arguments
                .next()
                .map(PathBuf::from)
                .filter(|path| path.is_absolute());
            *slot =
                Some(value.ok_or_else(|| Error::bad_request(format!("{option} wants an absolute path")))?);
        }
        match (dir, lib) {
            (Some(dir), Some(lib)) => Ok(Options { dir, lib, console }),
            _ => Err(Error::bad_request("--dir and --lib are both needed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directories_are_needed_and_absolute() {
        let parse = |text: &str| Options::parse(&text.split(' ').map(str::to_string).collect::<Vec<_>>());
        assert!(parse("--dir /a/b --lib /c").is_ok());
        for bad in ["--dir /a/b", "--dir a --lib /c", "--dir", "--lid /c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
