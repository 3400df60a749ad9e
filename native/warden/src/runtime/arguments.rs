//! The command line, as runc has it: global flags, a verb, its flags and arguments. Flags and arguments may be mixed, but for `exec`, whose arguments
//! after the id are the program's.

use super::Failure;
use std::path::{Path, PathBuf};

/// Where sandboxes lie when the caller names no place.
const DEFAULT_ROOT: &str = "/run/tripod-runtime";
const DEFAULT_LIB: &str = "/var/lib/tripod";

pub struct Invocation {
    /// Directory of the sandboxes' state.
    pub root: PathBuf,
    pub log: Option<PathBuf>,
    pub log_json: bool,
    pub systemd_cgroup: bool,
    /// Ours: another place for what the installation keeps, and another configuration file.
    pub tripod_root: Option<PathBuf>,
    pub tripod_config: Option<PathBuf>,
    pub verb: String,
    flags: Vec<(&'static str, String)>,
    pub args: Vec<String>,
    /// What another runtime would be called with: the arguments without those that only we know.
    pub for_others: Vec<String>,
}

struct Flag {
    name: &'static str,
    short: Option<&'static str>,
    has_value: bool,
}

const fn switch(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        has_value: false,
    }
}

const fn value(name: &'static str) -> Flag {
    Flag {
        has_value: true,
        ..switch(name)
    }
}

const fn short(flag: Flag, short: &'static str) -> Flag {
    Flag {
        short: Some(short),
        ..flag
    }
}

const GLOBALS: &[Flag] = &[
    value("root"),
    value("log"),
    value("log-format"),
    value("rootless"),
    value("criu"),
    value("cgroup-manager"),
    switch("debug"),
    switch("systemd-cgroup"),
    value("tripod-root"),
    value("tripod-config"),
    short(switch("help"), "h"),
    short(switch("version"), "v"),
];

const CREATE: &[Flag] = &[
    short(value("bundle"), "b"),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
];

const RUN: &[Flag] = &[
    short(value("bundle"), "b"),
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    switch("no-pivot"),
    switch("no-new-keyring"),
    value("preserve-fds"),
    short(switch("detach"), "d"),
    switch("keep"),
    switch("no-subreaper"),
];

const EXEC: &[Flag] = &[
    value("console-socket"),
    value("pidfd-socket"),
    value("cwd"),
    short(value("env"), "e"),
    short(switch("tty"), "t"),
    short(value("user"), "u"),
    short(value("additional-gids"), "g"),
    short(value("process"), "p"),
    short(switch("detach"), "d"),
    value("pid-file"),
    value("process-label"),
    value("apparmor"),
    switch("no-new-privs"),
    short(value("cap"), "c"),
    value("preserve-fds"),
    value("cgroup"),
    switch("ignore-paused"),
];

const UPDATE: &[Flag] = &[
    short(value("resources"), "r"),
    value("blkio-weight"),
    value("cpu-period"),
    value("cpu-quota"),
    value("cpu-burst"),
    value("cpu-rt-period"),
    value("cpu-rt-runtime"),
    value("cpu-share"),
    value("cpuset-cpus"),
    value("cpuset-mems"),
    value("cpu-idle"),
    value("kernel-memory"),
    value("kernel-memory-tcp"),
    value("memory"),
    value("memory-reservation"),
    value("memory-swap"),
    value("pids-limit"),
    value("l3-cache-schema"),
    value("mem-bw-schema"),
];

const CHECKPOINT: &[Flag] = &[
    value("image-path"),
    value("work-path"),
    value("parent-path"),
    value("page-server"),
    value("status-fd"),
    value("manage-cgroups-mode"),
    value("empty-ns"),
    short(value("bundle"), "b"),
    value("console-socket"),
    value("pid-file"),
    value("lsm-profile"),
    value("lsm-mount-context"),
];

fn flags_of(verb: &str) -> &'static [Flag] {
    match verb {
        "create" => CREATE,
        "run" => RUN,
        "exec" => EXEC,
        "update" => UPDATE,
        "checkpoint" | "restore" => CHECKPOINT,
        "kill" => const { &[short(switch("all"), "a")] },
        "delete" => const { &[short(switch("force"), "f")] },
        "list" => const { &[short(value("format"), "f"), short(switch("quiet"), "q")] },
        "ps" => const { &[short(value("format"), "f")] },
        "events" => const { &[value("interval"), switch("stats")] },
        "spec" => const { &[short(value("bundle"), "b"), switch("rootless")] },
        _ => &[],
    }
}

/// One flag as it stood on the command line.
struct Seen {
    /// As we know it; nothing for one that only another runtime may know.
    flag: Option<&'static Flag>,
    value: Option<String>,
}

/// Reads the flag that `text` is; `next` is the word behind it. Returns whether that word was its value.
fn read_flag(text: &str, known: &'static [Flag], next: Option<&String>) -> Result<(Seen, bool), Failure> {
    let name = text.trim_start_matches('-');
    let (name, inline) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (name, None),
    };
    let Some(flag) = known
        .iter()
        .find(|flag| flag.name == name || flag.short == Some(name))
    else {
        return Ok((
            Seen {
                flag: None,
                value: inline,
            },
            false,
        ));
    };
    let takes_next = flag.has_value && inline.is_none();
    if takes_next && next.is_none() {
        return Err(Failure::new(format!("flag needs an argument: {text}")));
    }
    let value = match inline {
        Some(inline) => Some(inline),
        None if takes_next => next.cloned(),
        None => Some("true".to_string()),
    };
    Ok((
        Seen {
            flag: Some(flag),
            value,
        },
        takes_next,
    ))
}

/// As seen from where we were called.
fn absolute(path: String) -> PathBuf {
    std::env::current_dir().unwrap_or_default().join(path)
}

fn is_flag(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-')
}

impl Invocation {
    /// `arguments`: without the program's name.
    pub fn parse(arguments: &[String]) -> Result<Invocation, Failure> {
        let mut invocation = Invocation {
            root: PathBuf::from(DEFAULT_ROOT),
            log: None,
            log_json: false,
            systemd_cgroup: false,
            tripod_root: None,
            tripod_config: None,
            verb: String::new(),
            flags: Vec::new(),
            args: Vec::new(),
            for_others: Vec::new(),
        };
        let mut at = 0;
        while at < arguments.len() && is_flag(&arguments[at]) {
            let (seen, took_next) = read_flag(&arguments[at], GLOBALS, arguments.get(at + 1))?;
            let end = at + 1 + usize::from(took_next);
            let Some(flag) = seen.flag else {
                return Err(Failure::new(format!(
                    "flag provided but not defined: {}",
                    arguments[at]
                )));
            };
            invocation.set_global(flag.name, seen.value.unwrap_or_default())?;
            if flag.name == "root" {
                // Absolute, wherever another runtime is started.
                let root = format!("--root={}", invocation.root.display());
                invocation.for_others.push(root);
            } else if !flag.name.starts_with("tripod-") {
                invocation.for_others.extend_from_slice(&arguments[at..end]);
            }
            at = end;
        }
        // Another runtime has another default.
        if !invocation
            .for_others
            .iter()
            .any(|word| word.trim_start_matches('-').starts_with("root"))
        {
            let root = format!("--root={}", invocation.root.display());
            invocation.for_others.insert(0, root);
        }
        if invocation.verb.is_empty() {
            invocation.verb = arguments.get(at).cloned().unwrap_or_else(|| "help".to_string());
            at += 1;
        }
        invocation
            .for_others
            .extend_from_slice(arguments.get(at.saturating_sub(1)..).unwrap_or_default());
        invocation.parse_verb(arguments.get(at..).unwrap_or_default())?;
        Ok(invocation)
    }

    fn set_global(&mut self, name: &str, value: String) -> Result<(), Failure> {
        match name {
            "root" => self.root = absolute(value),
            "log" if !value.is_empty() => self.log = Some(PathBuf::from(value)),
            "log-format" => match value.as_str() {
                "json" | "text" | "" => self.log_json = value == "json",
                other => {
                    return Err(Failure::new(format!(
                        "--log-format is json or text, not {other:?}"
                    )));
                }
            },
            "systemd-cgroup" => self.systemd_cgroup = value != "false",
            "tripod-root" => self.tripod_root = Some(absolute(value)),
            "tripod-config" => self.tripod_config = Some(absolute(value)),
            "help" | "version" => self.verb = name.to_string(),
            _ => {}
        }
        if self.root == Path::new("/") {
            return Err(Failure::new("--root must be a directory other than /"));
        }
        Ok(())
    }

    fn parse_verb(&mut self, arguments: &[String]) -> Result<(), Failure> {
        let known = flags_of(&self.verb);
        let mut at = 0;
        while at < arguments.len() {
            let text = &arguments[at];
            at += 1;
            if text == "--" {
                self.args.extend_from_slice(&arguments[at..]);
                break;
            }
            if !is_flag(text) {
                self.args.push(text.clone());
                if self.verb == "exec" {
                    self.args.extend_from_slice(&arguments[at..]);
                    break;
                }
                continue;
            }
            let (seen, took_next) = read_flag(text, known, arguments.get(at))?;
            at += usize::from(took_next);
            match seen.flag {
                Some(flag) => self.flags.push((flag.name, seen.value.unwrap_or_default())),
                None => self.flags.push((UNKNOWN, text.clone())),
            }
        }
        Ok(())
    }

    /// The value of a flag; the last one given counts.
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags
            .iter()
            .rev()
            .find(|(own, _)| *own == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.flag(name).is_some_and(|value| value != "false")
    }

    /// A flag that we do not know: another runtime may, we do not go on.
    pub fn refuse_unknown(&self) -> Result<(), Failure> {
        match self.flag(UNKNOWN) {
            Some(text) => Err(Failure::new(format!("flag provided but not defined: {text}"))),
            None => Ok(()),
        }
    }

    /// `VERB --help`, which is no verb's own flag.
    pub fn asks_for_help(&self) -> bool {
        matches!(self.flag(UNKNOWN), Some("--help" | "-help" | "-h" | "--h"))
    }

    /// The id that the verb is about.
    pub fn id(&self) -> Result<&str, Failure> {
        let id = self.args.first().ok_or_else(|| {
            Failure::new(format!(
                "{} needs the id of a container: tripod-runtime {} ID",
                self.verb, self.verb
            ))
        })?;
        if crate::path::is_id(id) {
            return Ok(id);
        }
        Err(Failure::new(format!(
            "invalid container ID format: {:?} (1 to 128 letters, digits, '_', '+', '.' or '-', beginning with a letter, digit or '_')",
            id.chars().take(140).collect::<String>()
        )))
    }

    /// Where the installation keeps networks and images.
    pub fn lib(&self) -> PathBuf {
        self.tripod_root
            .as_ref()
            .map_or_else(|| PathBuf::from(DEFAULT_LIB), |root| root.join("lib"))
    }
}

/// Stands for the flags that we do not know.
const UNKNOWN: &str = "";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Invocation::parse(&words).map_err(|failure| failure.message)
    }

    #[test]
    fn the_callers_we_know_are_understood() {
        let line = "--root /run/x --log /b/log.json --log-format json --systemd-cgroup create --bundle /b --pid-file /b/init.pid --no-pivot abc";
        let create = parse(line).unwrap();
        assert_eq!(create.verb, "create");
        assert_eq!(create.id().ok(), Some("abc"));
        assert_eq!(create.flag("bundle"), Some("/b"));
        assert!(create.is_set("no-pivot") && create.systemd_cgroup && create.log_json);
        assert_eq!(
            create.for_others.join(" "),
            line.replace("--root /run/x", "--root=/run/x")
        );
        let kill = parse("--root=/r kill abc 15 --all").unwrap();
        assert_eq!(kill.args, ["abc", "15"]);
        assert!(kill.is_set("all"));
        let exec = parse("exec --detach -e A=1 --pid-file=/p abc sh -c --all").unwrap();
        assert_eq!(exec.args, ["abc", "sh", "-c", "--all"]);
    }

    #[test]
    fn our_own_flags_are_not_handed_on() {
        let state = parse("state a").unwrap();
        assert_eq!(state.for_others.join(" "), "--root=/run/tripod-runtime state a");
        let state = parse("--tripod-root /t --root /r state a").unwrap();
        assert_eq!(state.for_others.join(" "), "--root=/r state a");
        assert_eq!(state.lib(), PathBuf::from("/t/lib"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse("--nope state a").err().unwrap().contains("--nope"));
        assert!(parse("--root").err().unwrap().contains("needs an argument"));
        assert!(parse("--root / list").err().unwrap().contains("other than /"));
        assert!(parse("--log-format xml list").err().unwrap().contains("xml"));
        assert!(parse("state a/../b").unwrap().id().is_err());
        assert!(parse("state").unwrap().id().is_err());
        assert!(parse("create --new-thing a").unwrap().refuse_unknown().is_err());
        assert_eq!(parse("").unwrap().verb, "help");
        assert!(parse("create --help").unwrap().asks_for_help());
        assert!(!parse("exec a sh --help").unwrap().asks_for_help());
        assert_eq!(parse("--version").unwrap().verb, "version");
    }
}
