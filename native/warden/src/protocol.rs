//! The brain protocol: requests and answers, one JSON object a line (`src/spec/protocol.ts` is the source;
//! `native/vectors/protocol.json` binds both).

use crate::error::Error;
use crate::net::NetFacts;
use crate::plan::{Bytes, Plan, Stdio};
use serde::{Deserialize, Serialize};

/// No line is longer, bytes.
pub const MAX_LINE_BYTES: usize = 4 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestLine {
    pub id: u64,
    #[serde(flatten)]
    pub request: Request,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    #[serde(rename_all = "camelCase")]
    Prepare {
        plan: Plan,
        on_exit: OnExit,
    },
    #[serde(rename_all = "camelCase")]
    Launch {
        plan: Plan,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_start: bool,
    },
    Look,
    Undo,
    Release,
    Start,
    Signal {
        signal: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<String>,
    },
    Exec {
        name: String,
        process: Bytes,
        stdio: Stdio,
    },
    #[serde(rename_all = "camelCase")]
    Stop {
        #[serde(skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    Forget {
        name: String,
    },
    Wait,
    State,
    Resize {
        rows: u16,
        cols: u16,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<String>,
    },
    Pause,
    Resume,
    Delete {
        force: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    Keep,
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum AnswerLine<'a> {
    Ok { id: u64, ok: &'a Answer },
    Error { id: u64, error: &'a Error },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Prepared {
        #[serde(skip_serializing_if = "Option::is_none")]
        net: Option<NetFacts>,
        times: Vec<StepTime>,
    },
    Launched {
        pid: i32,
        times: Vec<StepTime>,
    },
    Exit(Exit),
    State(StateFile),
    Done {},
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    pub step: &'static str,
    pub us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    pub exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    pub oom_killed: bool,
    pub finished_at: String,
}

/// The event line that tells the owner of the end.
#[derive(Debug, Serialize)]
pub struct ExitEvent<'a> {
    pub event: &'static str,
    /// Of a program that was executed besides; absent: the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<&'a str>,
    #[serde(flatten)]
    pub exit: &'a Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessName {
    pub pid: i32,
    pub start_ticks: u64,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateFile {
    pub version: u32,
    pub id: String,
    pub status: Status,
    pub pid: i32,
    pub start_ticks: u64,
    pub warden: ProcessName,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub execs: Vec<ExecState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecState {
    pub name: String,
    pub pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}
