//! What lies in the caller's root: directories of our sandboxes, and a mark for each container that was handed to another runtime.

use super::Failure;
use crate::error::Context;
use crate::options::Options;
use crate::process;
use crate::protocol::{ProcessName, StateFile, Status};
use crate::state_dir::StateDir;
use crate::undo;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// `oci.json` of a sandbox: what its `config.json` said, for the verbs that need no brain.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub version: u32,
    pub oci_version: String,
    pub bundle: String,
    pub rootfs: String,
    pub annotations: BTreeMap<String, String>,
    pub created: String,
    /// As the caller asked for at creation, for a launch at `start`.
    #[serde(default)]
    pub systemd_cgroup: bool,
    #[serde(default)]
    pub console: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Where the installation of its making keeps networks.
    pub lib: PathBuf,
    /// The runtime that makes it, whose word counts until there is a warden.
    pub maker: ProcessName,
}

/// A container of another runtime's.
#[derive(Serialize, Deserialize)]
pub struct Delegation {
    pub version: u32,
    pub program: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

pub enum Found {
    Ours(Box<Sandbox>),
    Delegated(Delegation),
}

pub struct Sandbox {
    pub id: String,
    pub dir: StateDir,
    pub record: Record,
    state: Option<StateFile>,
}

/// Bytes of a file of ours that is read back.
const LIMIT: usize = 8 << 20;

fn mark_of(root: &Path, id: &str) -> PathBuf {
    // A file with a dot: runc's and crun's own lists pass over both.
    root.join(format!(".{id}.tripod"))
}

/// Looks for a container. Nothing where none is called so.
pub fn find(root: &Path, id: &str) -> Result<Option<Found>, Failure> {
    let path = root.join(id);
    if !path.is_dir() {
        return Ok(None);
    }
    let dir = StateDir::open(&path)?;
    if let Some(text) = dir.read_file("oci.json", LIMIT)? {
        let record = serde_json::from_slice(&text)
            .map_err(|error| Failure::new(format!("{}/oci.json is damaged: {error}", path.display())))?;
        let state = match dir.read_file("state.json", LIMIT)? {
            Some(text) => serde_json::from_slice(&text).ok(),
            None => None,
        };
        let sandbox = Sandbox {
            id: id.to_string(),
            dir,
            record,
            state,
        };
        if sandbox.state.is_none() && !process::lives(&sandbox.record.maker) {
            // Its maker was killed before there was a warden to undo it: it never came to be.
            undo::undo(&Options {
                dir: path,
                lib: sandbox.record.lib,
                console: false,
            })?;
            return Ok(None);
        }
        return Ok(Some(Found::Ours(Box::new(sandbox))));
    }
    // Of another runtime's: by our mark, or made before Tripod came to this root. A mark that cannot be read says nothing.
    if let Some(to) = std::fs::read(mark_of(root, id))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
    {
        return Ok(Some(Found::Delegated(to)));
    }
    let runtime = [("state.json", "runc"), ("status", "crun")]
        .iter()
        .find(|(file, _)| path.join(file).exists())
        .and_then(|(_, name)| super::delegate::in_path(name));
    Ok(runtime.map(|program| {
        Found::Delegated(Delegation {
            version: 1,
            program,
            pod: None,
        })
    }))
}

impl Sandbox {
    /// Whether its warden lives.
    pub fn is_attended(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| process::lives(&state.warden))
    }

    /// Its status, told by whether its warden lives and not by what a file says.
    pub fn status(&self) -> Status {
        match &self.state {
            Some(state) if self.is_attended() => state.status,
            None if process::lives(&self.record.maker) => Status::Creating,
            _ => Status::Stopped,
        }
    }

    /// The process that stands for it; 0 when there is none.
    pub fn pid(&self) -> i32 {
        match &self.state {
            Some(state) if self.status() != Status::Stopped => state.warden.pid,
            _ => 0,
        }
    }

    /// Whether its launch plan is kept until `start`, when its network is there.
    pub fn is_unlaunched(&self) -> bool {
        self.status() == Status::Created && self.monitor_pid().is_none()
    }

    /// The monitor's process, if it is there.
    pub fn monitor_pid(&self) -> Option<i32> {
        let state = self.state.as_ref()?;
        (self.status() != Status::Stopped && state.pid != 0).then_some(state.pid)
    }
}

/// Other containers of a pod.
#[derive(Default)]
pub struct Neighbours {
    pub all: usize,
    /// Sandboxes of ours among them.
    pub guests: usize,
}

/// The other containers of a pod that live: an init container that has ended needs no network any more.
pub fn neighbours(root: &Path, id: &str, pod: Option<&str>) -> Result<Neighbours, Failure> {
    let mut neighbours = Neighbours::default();
    let Some(pod) = pod else { return Ok(neighbours) };
    for other in ids(root)?.into_iter().filter(|other| other != id) {
        // One that cannot be read is nobody's neighbour, and says so when it is asked for.
        match find(root, &other) {
            Ok(Some(Found::Ours(sandbox)))
                if sandbox.record.pod.as_deref() == Some(pod) && sandbox.status() != Status::Stopped =>
            {
                neighbours.all += 1;
                neighbours.guests += 1;
            }
            Ok(Some(Found::Delegated(to)))
                if to.pod.as_deref() == Some(pod) && others_process_lives(&root.join(&other)) =>
            {
                neighbours.all += 1;
            }
            _ => {}
        }
    }
    Ok(neighbours)
}

/// By what runc (`state.json`) or crun (`status`) keeps of its container's first process; one that keeps nothing we can read counts as alive.
fn others_process_lives(path: &Path) -> bool {
    let pid = [("state.json", "init_process_pid"), ("status", "pid")]
        .iter()
        .find_map(|(file, field)| {
            let text = std::fs::read(path.join(file)).ok()?;
            let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
            value.get(field)?.as_i64()
        });
    pid.is_none_or(|pid| process::start_ticks(pid as i32).is_some())
}

/// The ids of all containers in a root, sorted.
pub fn ids(root: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(Failure::new(format!(
                "{} cannot be read: {error}",
                root.display()
            )));
        }
    };
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| crate::path::is_id(name))
        .collect();
    ids.sort();
    Ok(ids)
}

/// What a directory that is being made is called: one of a process that is gone was never finished.
const UNFINISHED: &str = ".new";

/// Makes the directory of a new sandbox with its record: whole or not at all, so that no kill in between takes an id for ever. What was made is taken away
/// again when it fails.
pub fn reserve(root: &Path, id: &str, record: &Record) -> Result<PathBuf, Failure> {
    let path = root.join(id);
    let own = process::name_of(std::process::id() as i32);
    let around = root.join(format!("{UNFINISHED}.{}.{}.{id}", own.pid, own.start_ticks));
    let made = make_whole(&around, &path, id, record);
    let _ = std::fs::remove_dir_all(&around);
    made.map(|()| path)
}

fn make_whole(around: &Path, path: &Path, id: &str, record: &Record) -> Result<(), Failure> {
    let inner = around.join(id);
    std::fs::create_dir_all(&inner)
        .map_err(|error| Failure::new(format!("{} cannot be made: {error}", inner.display())))?;
    write_record(&inner, record)?;
    match rustix::fs::renameat_with(CWD, &inner, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST | Errno::NOTEMPTY) => Err(exists(id)),
        other => Ok(other.or_system(|| format!("{} cannot be made", path.display()))?),
    }
}

/// Removes what killed runtimes began to make.
pub fn sweep_unfinished(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let mut parts = name.to_str().unwrap_or_default().splitn(5, '.');
        let maker = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(""), Some(word), Some(pid), Some(ticks)) if word == &UNFINISHED[1..] => {
                pid.parse::<i32>().ok().zip(ticks.parse::<u64>().ok())
            }
            _ => None,
        };
        if maker.is_some_and(|(pid, ticks)| process::start_ticks(pid) != Some(ticks)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn write_record(path: &Path, record: &Record) -> Result<(), Failure> {
    rustix::fs::chmod(path, Mode::RWXU).or_system(|| format!("cannot close {}", path.display()))?;
    let text = serde_json::to_vec(record).map_err(|error| Failure::new(error.to_string()))?;
    StateDir::open(path)?.replace_file("oci.json", &text)?;
    Ok(())
}

pub fn exists(id: &str) -> Failure {
    Failure::new(format!("container with given ID already exists: {id}"))
}

/// runc's own words, which engines look for.
pub fn does_not_exist(id: &str) -> Failure {
    Failure::new(format!("container does not exist: {id}"))
}

/// Makes the root, for root alone.
pub fn make_root(root: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .map_err(|error| Failure::new(format!("the root {} cannot be made: {error}", root.display())))
}

/// Marks a container as another runtime's.
pub fn mark(root: &Path, id: &str, program: &Path, pod: Option<&str>) -> Result<(), Failure> {
    let delegation = Delegation {
        version: 1,
        program: program.to_path_buf(),
        pod: pod.map(str::to_string),
    };
    let text = serde_json::to_string(&delegation).map_err(|error| Failure::new(error.to_string()))?;
    let path = mark_of(root, id);
    let aside = root.join(format!(".{id}.tripod.new"));
    let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written.map_err(|error| Failure::new(format!("{} cannot be written: {error}", path.display())))
}

/// Takes the mark away, and the bundle that was written for an older runtime (`src/lifecycle/engine/delegate.ts`).
pub fn unmark(root: &Path, id: &str) {
    let bundle = root.join(format!(".{id}.tripod.bundle"));
    let _ = std::fs::remove_file(bundle.join("config.json"));
    let _ = std::fs::remove_dir(bundle);
    let _ = std::fs::remove_file(mark_of(root, id));
}

/// Removes the marks of containers that are gone.
pub fn sweep_marks(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let id = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(".tripod"));
        if let Some(id) = id
            && !root.join(id).exists()
            && is_old(&entry.path())
        {
            unmark(root, id);
        }
    }
}

/// A mark is written before the runtime makes its directory.
fn is_old(path: &Path) -> bool {
    std::fs::metadata(path)
        .and_then(|data| data.modified())
        .ok()
        .and_then(|time| time.elapsed().ok())
        .is_some_and(|age| age.as_secs() > 600)
}

/// Reads a file that a caller names, of at most `limit` bytes.
pub fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let what = || format!("{} cannot be read", path.display());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat2(
        rustix::fs::CWD,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )
    .or_system(what)?;
    Ok(crate::state_dir::read_limited(std::os::fd::AsFd::as_fd(&file), limit).or_system(what)?)
}
