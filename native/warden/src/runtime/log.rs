//! Where a failure is told: stderr, and the file that the caller names, whose last line of level `error` is what engines show.

use super::arguments::Invocation;
use crate::clock;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

pub struct Log {
    file: Option<File>,
    json: bool,
}

impl Log {
    pub fn without_file() -> Log {
        Log {
            file: None,
            json: false,
        }
    }

    pub fn open(invocation: &Invocation) -> Log {
        let open = |path| {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o640)
                .open(path)
        };
        Log {
            file: invocation.log.as_ref().and_then(|path| open(path).ok()),
            json: invocation.log_json,
        }
    }

    pub fn error(&self, message: &str) {
        self.write("error", message);
        // Engines hand us streams that cannot be written (runc's own callers do): that is theirs to know.
        let _ = writeln!(std::io::stderr(), "{message}");
    }

    pub fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else {
            return;
        };
        let time = clock::now();
        let line = if self.json {
            serde_json::json!({"level": level, "msg": message, "time": time}).to_string()
        } else {
            format!("time={time:?} level={level} msg={message:?}")
        };
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}
