//! Drives the real program through its descriptor 3, each test in a root of its own. Needs root.
#![allow(dead_code)] // Each test program uses its own part of this.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tripod-warden");
pub const BUSYBOX: &str = "/bin/busybox";
const DEADLINE: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A root with one sandbox's state directory in it; all removed at the end.
pub struct Lab {
    pub root: PathBuf,
    pub id: String,
}

impl Lab {
    pub fn new() -> Lab {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("wt{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(format!("tripod-warden-{id}"));
        let lab = Lab { root, id };
        std::fs::create_dir_all(lab.dir()).unwrap();
        std::fs::create_dir_all(lab.root.join("run/test/names")).unwrap();
        std::fs::create_dir_all(lab.lib().join("networks")).unwrap();
        std::fs::write(
            lab.dir().join("sandbox.json"),
            json!({"name": "a-name"}).to_string(),
        )
        .unwrap();
        std::fs::write(lab.name_file(), format!("{}\n", lab.id)).unwrap();
        lab
    }

    pub fn dir(&self) -> PathBuf {
        self.root.join("run/test").join(&self.id)
    }
    pub fn lib(&self) -> PathBuf {
        self.root.join("lib")
    }
    pub fn name_file(&self) -> PathBuf {
        self.root.join("run/test/names/a-name")
    }
    pub fn cgroup(&self) -> String {
        format!("/tripod-warden-test/{}", self.id)
    }
    pub fn plan(&self, steps: Value) -> Value {
        json!({"version": 1, "id": self.id, "steps": steps})
    }

    pub fn warden(&self) -> Warden {
        Warden::start(self, Stdio::null(), Stdio::null(), Stdio::inherit())
    }

    /// Runs `undo` and returns the line that it printed.
    pub fn undo(&self) -> Value {
        let output = Command::new(PROGRAM)
            .args(["undo", "--dir"])
            .arg(self.dir())
            .arg("--lib")
            .arg(self.lib())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a sandbox could have left behind, as sentences.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for path in [self.dir(), self.name_file()] {
            if path.exists() {
                found.push(format!("file {}", path.display()));
            }
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let cgroup = hierarchy.path().join(self.cgroup().trim_start_matches('/'));
            if cgroup.exists() {
                found.push(format!("cgroup {}", cgroup.display()));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        found.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&self.id))
                .map(|line| format!("mount {line}")),
        );
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(&self.id) {
                found.push(format!("process {command}"));
            }
        }
        found
    }

    pub fn wait_gone(&self) {
        until("everything is gone", || {
            self.leftovers()
                .is_empty()
                .then_some(())
                .ok_or_else(|| self.leftovers())
        });
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.dir().exists() {
            self.undo();
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Tries until `Ok`; fails the test with the last `Err` after a while.
pub fn until<T, E: std::fmt::Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if Instant::now() > end => panic!("{what}: {error:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

pub struct Warden {
    pub child: Child,
    pub owner: Option<Client>,
}

/// One connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    next: u64,
    pub events: Vec<Value>,
}

impl Client {
    pub fn new(stream: UnixStream) -> Client {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Client {
            stream: BufReader::new(stream),
            next: 1,
            events: Vec::new(),
        }
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    pub fn send(&mut self, mut request: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        request["id"] = json!(id);
        self.send_raw(format!("{request}\n").as_bytes());
        id
    }

    /// The next line, or `None` at the end.
    pub fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))),
        }
    }

    pub fn answer(&mut self, id: u64) -> Value {
        loop {
            let line = self.line().expect("the warden answers");
            if line["id"] == json!(id) {
                return line;
            }
            self.events.push(line);
        }
    }

    pub fn ask(&mut self, request: Value) -> Value {
        let id = self.send(request);
        self.answer(id)
    }

    pub fn ok(&mut self, request: Value) -> Value {
        let answer = self.ask(request.clone());
        assert!(answer.get("ok").is_some(), "{request}: {answer}");
        answer["ok"].clone()
    }

    pub fn error(&mut self, request: Value) -> Value {
        let answer = self.ask(request.clone());
        assert!(answer.get("error").is_some(), "{request}: {answer}");
        answer["error"].clone()
    }
}

impl Warden {
    pub fn start(lab: &Lab, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Warden {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .arg("--dir")
            .arg(lab.dir())
            .arg("--lib")
            .arg(lab.lib())
            .env_clear();
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let number = theirs.as_raw_fd();
        // SAFETY: one system call, on a number that is open until after the spawn.
        unsafe {
            command.pre_exec(move || {
                if number == 3 {
                    libc::fcntl(3, libc::F_SETFD, 0)
                } else {
                    libc::dup2(number, 3)
                };
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        Warden {
            child,
            owner: Some(Client::new(ours)),
        }
    }

    pub fn owner(&mut self) -> &mut Client {
        self.owner.as_mut().unwrap()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The event that tells the owner of the end.
    pub fn end(&mut self) -> Value {
        let owner = self.owner();
        let event = match owner.events.pop() {
            Some(event) => event,
            None => owner.line().expect("an exit event"),
        };
        assert_eq!(event["event"], "exit");
        event
    }

    /// The warden's own exit status.
    pub fn exit(&mut self) -> i32 {
        until("the warden ends", || {
            self.child.try_wait().unwrap().ok_or("it runs")
        })
        .code()
        .unwrap_or(-1)
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn connect(lab: &Lab) -> Client {
    until("the control socket answers", || {
        UnixStream::connect(lab.dir().join("control.sock")).map(Client::new)
    })
}

pub fn log_of(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// The ground of a monitor: cgroup and namespaces.
pub fn ground(lab: &Lab) -> Value {
    json!([
        {"do": "cgroup", "path": lab.cgroup(), "limits": {"pids": 64, "memoryBytes": 64 << 20}, "warden": false},
        {"do": "namespaces", "make": ["mount", "pid", "network", "ipc", "uts"], "join": [], "hostname": "sandbox"},
        {"do": "root", "sizeBytes": 1 << 20},
    ])
}

/// Spawns busybox with a shell script, as user 4242.
pub fn spawn(script: &str) -> Value {
    spawn_with(script, json!({}))
}

pub fn spawn_with(script: &str, more: Value) -> Value {
    let mut step = json!({
        "do": "spawn", "program": BUSYBOX, "argv": ["sh", "-c", script], "env": ["PATH=/bin"],
        "as": {"uid": 4242, "gid": 4243, "groups": []}, "fds": [], "rlimits": [],
        "maskedPaths": [], "readonlyPaths": [],
        "stdio": {"terminal": false, "stdin": "null", "tee": false, "log": {"maxBytes": 1 << 20, "files": 2}},
        "stop": {"signal": 15, "deadlineMs": 2000},
    });
    for (key, value) in more.as_object().unwrap() {
        step[key] = value.clone();
    }
    step
}

/// Busybox in the private root, for scripts that run more than the shell.
pub fn bind_busybox() -> Value {
    json!({"do": "bind", "from": BUSYBOX, "at": "/bin/busybox", "readonly": true, "noexec": false, "recursive": false})
}
