//! A sandbox's cgroup on whatever the host has: version 2, version 1, or both side by side.

mod hierarchy;
mod kill;
mod limits;

pub use hierarchy::{Hierarchies, Hierarchy};

use crate::error::{Context, Error, Result};
use crate::path::CgroupPath;
use crate::plan::Limits;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A cgroup that was made: its directory in each hierarchy used.
pub struct Cgroup {
    path: CgroupPath,
    used: Vec<Hierarchy>,
    /// The warden is in it: where it came from.
    warden: Option<Origin>,
    attaching: Option<JoinHandle<Result<()>>>,
}

/// The `cgroup.procs` that the warden was in before it went into a sandbox's cgroup.
type Origin = Vec<PathBuf>;

/// What is frozen or denied devices where the warden, which must do its work, is in the sandbox's cgroup.
const GUEST: &str = "guest";

impl Cgroup {
    /// Makes the cgroup with its limits. A limit whose controller is not there is an error, never ignored.
    pub fn create(path: &CgroupPath, limits: &Limits, warden: bool) -> Result<Cgroup> {
        let hierarchies = Hierarchies::read()?;
        let mut used = Vec::new();
        for (controller, demanded) in limits::controllers(limits) {
            match hierarchies.with(controller) {
                Some(hierarchy) if used.contains(hierarchy) => {}
                Some(hierarchy) => used.push(hierarchy.clone()),
                None if demanded => {
                    return Err(Error::step(format!(
                        "cannot set limits: the cgroup controller {controller} is not mounted"
                    )));
                }
                None => {}
            }
        }
        if warden {
            // Engines read statistics in whatever hierarchy the warden is in.
            used.extend(
                hierarchies
                    .all()
                    .iter()
                    .filter(|one| !used.contains(one))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        }
        for hierarchy in &used {
            hierarchy.make(path)?;
        }
        let cgroup = Cgroup {
            path: path.clone(),
            warden: warden.then(|| origin(&used)),
            used,
            attaching: None,
        };
        limits::apply(&cgroup, limits)?;
        for hierarchy in &cgroup.used {
            let guest = cgroup.guest_directory(hierarchy);
            if !guest.exists() {
                std::fs::create_dir(&guest)
                    .or_system(|| format!("cannot make the cgroup {}", guest.display()))?;
            }
        }
        Ok(cgroup)
    }

    /// Where the guest's processes are.
    fn guest_directory(&self, hierarchy: &Hierarchy) -> PathBuf {
        let directory = hierarchy.directory(&self.path);
        let apart = hierarchy.unified || hierarchy.has("freezer") || hierarchy.has("devices");
        if self.warden.is_some() && apart {
            directory.join(GUEST)
        } else {
            directory
        }
    }

    /// Where the guest's processes are in the hierarchy of a controller.
    fn guest(&self, controller: &str) -> Option<(PathBuf, bool)> {
        let hierarchy = self.used.iter().find(|hierarchy| hierarchy.has(controller))?;
        Some((self.guest_directory(hierarchy), hierarchy.unified))
    }

    pub fn has_warden(&self) -> bool {
        self.warden.is_some()
    }

    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Removes what is only the guest's, with all that is in it.
    pub fn remove_guest(&self) -> Result<()> {
        for hierarchy in &self.used {
            kill::remove_beneath(&hierarchy.directory(&self.path))?;
        }
        Ok(())
    }

    /// Takes the warden out again, so that the cgroup can be emptied and removed.
    pub fn leave(&mut self) {
        for file in self.warden.take().into_iter().flatten() {
            // One that has vanished meanwhile leaves us where we are: the removal will say so.
            let _ = write(&file, "0");
        }
    }

    /// The directory of the cgroup in the hierarchy of a controller.
    pub fn directory(&self, controller: &str) -> Option<(PathBuf, bool)> {
        let hierarchy = self.used.iter().find(|hierarchy| hierarchy.has(controller))?;
        Some((hierarchy.directory(&self.path), hierarchy.unified))
    }

    /// Moves a process in. The kernel takes about 10 ms for it (it waits for all its readers), so this is done beside
    /// the other steps; `attached` waits for it.
    pub fn attach(&mut self, pid: i32) -> Result<()> {
        let guest = |hierarchy| self.guest_directory(hierarchy).join("cgroup.procs");
        let mut moves: Vec<(PathBuf, i32)> = self.used.iter().map(|one| (guest(one), pid)).collect();
        if self.warden.is_some() {
            let own = std::process::id() as i32;
            // Version 1 must let us open the devices that we hand on.
            let with_us = self
                .used
                .iter()
                .filter(|hierarchy| hierarchy.unified || !hierarchy.has("devices"))
                .map(|hierarchy| (hierarchy.directory(&self.path).join("cgroup.procs"), own));
            moves.extend(with_us);
        }
        let work = move || {
            for (file, pid) in moves {
                write(&file, &pid.to_string())?;
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(work);
        self.attaching = Some(thread.or_system(|| "cannot start a thread")?);
        Ok(())
    }

    /// `cgroup.procs` of the groups that the warden was in before.
    pub fn origins(&self) -> Vec<PathBuf> {
        self.warden.clone().unwrap_or_default()
    }

    /// Waits until `attach` is through.
    pub fn attached(&mut self) -> Result<()> {
        match self.attaching.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::step("the thread that fills the cgroup failed")),
            None => Ok(()),
        }
    }

    /// Forbids all devices except those allowed later. Version 1 only: version 2 wants a BPF program for it, and the private root
    /// holds no other node and its binds are `nodev` in either version.
    pub fn forbid_devices(&self) -> Result<()> {
        match self.guest("devices") {
            Some((directory, false)) => {
                write(&directory.join("devices.deny"), "a")?;
                // null, zero, full, random, urandom: harmless wherever a node of them is.
                [3, 5, 7, 8, 9]
                    .iter()
                    .try_for_each(|minor| self.allow_device('c', 1, *minor))
            }
            _ => Ok(()),
        }
    }

    /// Allows a device node by numbers; `kind` is `c` or `b`.
    pub fn allow_device(&self, kind: char, major: u32, minor: u32) -> Result<()> {
        match self.guest("devices") {
            Some((directory, false)) => write(
                &directory.join("devices.allow"),
                &format!("{kind} {major}:{minor} rwm"),
            ),
            _ => Ok(()),
        }
    }

    /// Thaws without waiting: a frozen process sees no signal, not even the one that kills it.
    pub fn thaw(&self) {
        if let Some((directory, unified)) = self.guest("freezer") {
            let (file, value) = if unified {
                ("cgroup.freeze", "0")
            } else {
                ("freezer.state", "THAWED")
            };
            let _ = write(&directory.join(file), value);
        }
    }

    /// Freezes or thaws all processes, and waits until they are.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let Some((directory, unified)) = self.guest("freezer") else {
            return Err(Error::step("cannot pause: the cgroup freezer is not mounted"));
        };
        let end = Instant::now() + Duration::from_secs(5);
        let (file, value, status, wanted) = match (unified, frozen) {
            (true, true) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            (true, false) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
            (false, true) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            (false, false) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
        };
        write(&directory.join(file), value)?;
        loop {
            let now = read(&directory.join(status))?;
            if now.lines().any(|line| line == wanted) || (unified && frozen && only_kernel_runs(&directory)) {
                return Ok(());
            }
            if Instant::now() > end {
                if frozen {
                    // Half frozen is neither.
                    self.thaw();
                }
                return Err(Error::step(format!(
                    "the cgroup did not become {} within 5 s",
                    wanted.to_lowercase()
                )));
            }
            // Version 1 gives up when a process forks meanwhile, and has to be asked again.
            write(&directory.join(file), value)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The `cgroup.procs` that this process is in, in the hierarchies used.
fn origin(used: &[Hierarchy]) -> Origin {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    own.lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .filter_map(|(controllers, path)| {
            let hierarchy = used.iter().find(|hierarchy| {
                if hierarchy.unified {
                    controllers.is_empty()
                } else {
                    controllers.split(',').any(|controller| hierarchy.has(controller))
                }
            })?;
            let directory = hierarchy.mount.join(path.trim_start_matches('/'));
            Some(directory.join("cgroup.procs"))
        })
        .collect()
}

/// Whether all threads of a version 2 cgroup stand in the freezer but the kernel's own, which cannot be frozen: KVM puts one into the cgroup of
/// whoever makes a machine, and `cgroup.events` then never says `frozen 1`.
fn only_kernel_runs(directory: &std::path::Path) -> bool {
    const KERNEL_THREAD: u64 = 0x0020_0000;
    // Where a frozen thread waits; compilers put the first into the second.
    const FREEZER: [&str; 2] = ["do_freezer_trap", "get_signal"];
    let Ok(threads) = std::fs::read_to_string(directory.join("cgroup.threads")) else {
        return false;
    };
    let mut kernels = 0;
    for thread in threads.lines() {
        // One that has ended meanwhile runs no more.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{thread}/stat")) else {
            continue;
        };
        // After the name, which may hold anything: state, parent, group, session, terminal, its group, flags.
        let flags = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(6));
        if flags
            .and_then(|flags| flags.parse::<u64>().ok())
            .is_some_and(|flags| flags & KERNEL_THREAD != 0)
        {
            kernels += 1;
        } else if !std::fs::read_to_string(format!("/proc/{thread}/wchan"))
            .is_ok_and(|place| FREEZER.contains(&place.as_str()))
        {
            return false;
        }
    }
    kernels > 0
}

/// Whether the kernel killed a process of a memory cgroup's directory for want of memory.
pub fn was_oom_killed(directory: &std::path::Path) -> bool {
    ["memory.events", "memory.oom_control"].iter().any(|file| {
        std::fs::read_to_string(directory.join(file)).is_ok_and(|text| {
            text.lines()
                .filter_map(|line| line.strip_prefix("oom_kill "))
                .any(|count| count.trim() != "0")
        })
    })
}

/// The memory cgroup's directory that a process is in.
pub fn memory_directory_of(pid: i32) -> Option<PathBuf> {
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let hierarchies = Hierarchies::read().ok()?;
    let hierarchy = hierarchies.with("memory")?;
    own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let here = if hierarchy.unified {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|controller| controller == "memory")
        };
        here.then(|| hierarchy.mount.join(path.trim_start_matches('/')))
    })
}

/// Makes the directories of a cgroup that somebody else (an OCI runtime) is going to fill. The runtime makes them too, but gives up
/// when another sandbox's end takes an empty parent away between two of its steps; one that has a child stays.
pub fn reserve(path: &CgroupPath) -> Result<()> {
    Hierarchies::read()?
        .all()
        .iter()
        .try_for_each(|hierarchy| hierarchy.make(path))
}

/// Kills every process in the cgroup and removes it from every hierarchy where it is, with the parents that are then empty.
pub fn remove(path: &CgroupPath) -> Result<()> {
    let hierarchies = Hierarchies::read()?;
    // All are killed and thawed before the first is removed: a process frozen in one hierarchy keeps it in every other.
    for hierarchy in hierarchies.all() {
        kill::kill_tree(&hierarchy.directory(path));
    }
    for hierarchy in hierarchies.all() {
        kill::remove(hierarchy, path)?;
    }
    Ok(())
}

fn write(file: &std::path::Path, value: &str) -> Result<()> {
    std::fs::write(file, value).or_system(|| format!("cannot write {value:?} to {}", file.display()))
}

fn read(file: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(file).or_system(|| format!("cannot read {}", file.display()))
}
