//! The plan as the brain writes it (`src/spec/plan.ts` is the source; `native/vectors/plans.json` binds both).

use crate::path::{CgroupPath, HostPath, SandboxPath, StatePath};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: PlanVersion,
    pub id: String,
    pub steps: Vec<Step>,
}

/// The only version there is; any other number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PlanVersion;

impl TryFrom<u32> for PlanVersion {
    type Error = String;
    fn try_from(version: u32) -> Result<Self, String> {
        if version == 1 {
            Ok(PlanVersion)
        } else {
            Err(format!("plan version {version} is not known, only 1 is"))
        }
    }
}

impl From<PlanVersion> for u32 {
    fn from(_: PlanVersion) -> u32 {
        1
    }
}

/// Bytes that travel as padded base64.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        STANDARD
            .decode(text)
            .map(Bytes)
            .map_err(|error| format!("not base64: {error}"))
    }
}

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> String {
        STANDARD.encode(bytes.0)
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    User,
    Mount,
    Pid,
    Network,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_quota_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_period_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdMap {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StopMeans {
    #[serde(rename_all = "camelCase")]
    Signal { signal: u8, deadline_ms: u64 },
    #[serde(rename_all = "camelCase")]
    Socket {
        socket: StatePath,
        say: Bytes,
        deadline_ms: u64,
    },
    #[serde(rename_all = "camelCase")]
    Channel { say: Bytes, deadline_ms: u64 },
}

impl StopMeans {
    pub fn deadline_ms(&self) -> u64 {
        match self {
            StopMeans::Signal { deadline_ms, .. }
            | StopMeans::Socket { deadline_ms, .. }
            | StopMeans::Channel { deadline_ms, .. } => *deadline_ms,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    Null,
    Inherit,
    Engine,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLimits {
    pub max_bytes: u64,
    pub files: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stdio {
    pub terminal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    pub stdin: Stdin,
    pub tee: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogLimits>,
    /// Of an engine: where its ends of the streams are; absent: the warden's own streams are they.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipes: Option<Pipes>,
}

/// FIFOs or files of the host; one that is absent is nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<HostPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<HostPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<HostPath>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    pub at: i32,
    pub say: Bytes,
    pub expect: Bytes,
    pub deadline_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FdGrant {
    pub name: String,
    pub at: i32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<String>,
    pub host_port: u16,
    pub guest_port: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinNamespace {
    pub kind: NamespaceKind,
    pub path: HostPath,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelFs {
    Tmpfs,
    Proc,
    Devpts,
    Sysfs,
}

impl KernelFs {
    pub fn name(self) -> &'static str {
        match self {
            KernelFs::Tmpfs => "tmpfs",
            KernelFs::Proc => "proc",
            KernelFs::Devpts => "devpts",
            KernelFs::Sysfs => "sysfs",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OciRuntime {
    Runc,
    Crun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookPlace {
    Runtime,
    Container,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookTime {
    Now,
    Start,
    Poststart,
    Poststop,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Directory {
    pub at: StatePath,
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    pub at: StatePath,
    pub content: Bytes,
    pub mode: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// One part of a joined file: a file of the host as it is, or bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    File {
        from: HostPath,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        nofollow: bool,
    },
    Bytes {
        content: Bytes,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    pub at: StatePath,
    pub parts: Vec<Part>,
    pub mode: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    pub path: CgroupPath,
    pub limits: Limits,
    pub warden: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    pub make: Vec<NamespaceKind>,
    pub join: Vec<JoinNamespace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid_map: Option<Vec<IdMap>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid_map: Option<Vec<IdMap>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub name: String,
    pub interface: String,
    pub plugin_dirs: Vec<HostPath>,
    pub ports: Vec<PortMapping>,
}

/// Unpacked layers (topmost first) as one tree: the steps `overlay` and `copy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    pub lowers: Vec<HostPath>,
    pub at: StatePath,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    pub size_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bind {
    pub from: HostPath,
    pub at: SandboxPath,
    pub readonly: bool,
    pub noexec: bool,
    pub recursive: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nofollow: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
}

/// What is mounted in a bound directory, which is the root that its `at` is resolved in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub from: HostPath,
    pub at: SandboxPath,
    pub readonly: bool,
    pub recursive: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    #[serde(rename = "type")]
    pub kind: KernelFs,
    pub at: SandboxPath,
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub from: HostPath,
    pub at: SandboxPath,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unmount {
    pub at: HostPath,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rootfs {
    pub at: HostPath,
    pub mounts: Vec<HostMount>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostMount {
    #[serde(rename = "type")]
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub name: String,
    pub path: HostPath,
    pub write: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nofollow: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tap {
    pub name: String,
    pub mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vnet_header: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Whom something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatPort {
    pub port: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    pub tap: String,
    pub link: String,
    pub host: Ipv4Addr,
    pub guest: Ipv4Addr,
    pub prefix: u8,
    pub ports: Vec<NatPort>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    pub when: HookTime,
    pub path: HostPath,
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub timeout_ms: u64,
    #[serde(rename = "where")]
    pub place: HookPlace,
    pub state: Bytes,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Oci {
    pub runtime: OciRuntime,
    pub path: HostPath,
    pub bundle: StatePath,
    pub stdio: Stdio,
    pub stop: StopMeans,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Helper {
    pub program: HostPath,
    pub argv: Vec<String>,
    pub env: Vec<String>,
    #[serde(rename = "as")]
    pub credentials: Credentials,
    pub socket: StatePath,
    pub listens_at: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects: Option<String>,
    pub root_bytes: u64,
    pub binds: Vec<Bind>,
    pub proc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Bytes>,
    pub rlimits: Vec<Rlimit>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spawn {
    pub program: HostPath,
    pub argv: Vec<String>,
    pub env: Vec<String>,
    #[serde(rename = "as")]
    pub credentials: Credentials,
    pub fds: Vec<FdGrant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Bytes>,
    pub rlimits: Vec<Rlimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    pub masked_paths: Vec<SandboxPath>,
    pub readonly_paths: Vec<SandboxPath>,
    /// Statuses of the program and the exit codes that they stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit_codes: Vec<(u8, u8)>,
    pub stdio: Stdio,
    pub stop: StopMeans,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Step {
    Directory(Directory),
    File(File),
    Concat(Concat),
    Cgroup(Cgroup),
    Namespaces(Namespaces),
    Network(Network),
    Overlay(Layers),
    Copy(Layers),
    Unmount(Unmount),
    Rootfs(Rootfs),
    Root(Root),
    Bind(Bind),
    Mount(Mount),
    Device(Device),
    Open(Open),
    Tap(Tap),
    Nat(Nat),
    Hook(Hook),
    Oci(Oci),
    Helper(Box<Helper>),
    Spawn(Box<Spawn>),
}

impl Step {
    pub fn kind(&self) -> &'static str {
        match self {
            Step::Directory(_) => "directory",
            Step::File(_) => "file",
            Step::Concat(_) => "concat",
            Step::Cgroup(_) => "cgroup",
            Step::Namespaces(_) => "namespaces",
            Step::Network(_) => "network",
            Step::Overlay(_) => "overlay",
            Step::Copy(_) => "copy",
            Step::Unmount(_) => "unmount",
            Step::Rootfs(_) => "rootfs",
            Step::Root(_) => "root",
            Step::Bind(_) => "bind",
            Step::Mount(_) => "mount",
            Step::Device(_) => "device",
            Step::Open(_) => "open",
            Step::Tap(_) => "tap",
            Step::Nat(_) => "nat",
            Step::Hook(_) => "hook",
            Step::Oci(_) => "oci",
            Step::Helper(_) => "helper",
            Step::Spawn(_) => "spawn",
        }
    }
}
