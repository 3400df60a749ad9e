//! Limits as each version of cgroups wants them.

use super::{Cgroup, write};
use crate::error::{Error, Result};
use crate::plan::Limits;
use std::path::Path;

const DEFAULT_PERIOD_US: u64 = 100_000;

/// The controllers to use, and whether a limit demands each. Those without a limit serve accounting, pausing and confinement, and
/// may be missing. Each hierarchy more costs time at every start, so that no other is used.
pub fn controllers(limits: &Limits) -> Vec<(&'static str, bool)> {
    let cpu = limits.cpu_quota_us.is_some() || limits.cpu_shares.is_some();
    let mut list = vec![
        ("memory", limits.memory_bytes.is_some()),
        ("pids", limits.pids.is_some()),
        ("freezer", false),
        ("devices", false),
    ];
    if cpu {
        list.push(("cpu", true));
    }
    if limits.cpuset_cpus.is_some() {
        list.push(("cpuset", true));
    }
    list
}

pub fn apply(cgroup: &Cgroup, limits: &Limits) -> Result<()> {
    let at = |controller: &str| {
        cgroup
            .directory(controller)
            .ok_or_else(|| Error::step(format!("the cgroup controller {controller} is not mounted")))
    };
    if let Some(bytes) = limits.memory_bytes {
        let (directory, unified) = at("memory")?;
        memory(&directory, unified, bytes)?;
    }
    if let Some(pids) = limits.pids {
        write(&at("pids")?.0.join("pids.max"), &pids.to_string())?;
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        write(&at("cpuset")?.0.join("cpuset.cpus"), cpus)?;
    }
    if let Some(quota) = limits.cpu_quota_us {
        let (directory, unified) = at("cpu")?;
        let period = limits.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        if unified {
            write(&directory.join("cpu.max"), &format!("{quota} {period}"))?;
        } else {
            write(&directory.join("cpu.cfs_period_us"), &period.to_string())?;
            write(&directory.join("cpu.cfs_quota_us"), &quota.to_string())?;
        }
    }
    if let Some(shares) = limits.cpu_shares {
        let (directory, unified) = at("cpu")?;
        if unified {
            write(
                &directory.join("cpu.weight"),
                &weight_of_shares(shares).to_string(),
            )?;
        } else {
            write(&directory.join("cpu.shares"), &shares.to_string())?;
        }
    }
    Ok(())
}

/// Memory without swap on top, where swap is accounted: the limit means the same on every host.
fn memory(directory: &Path, unified: bool, bytes: u64) -> Result<()> {
    let (limit, swap, swap_value) = if unified {
        ("memory.max", "memory.swap.max", 0)
    } else {
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes)
    };
    write(&directory.join(limit), &bytes.to_string())?;
    if directory.join(swap).exists() {
        write(&directory.join(swap), &swap_value.to_string())?;
    }
    Ok(())
}

/// 2…262144 shares are 1…10000 of weight, as runc converts them.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_to_the_ends_of_weight() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 39, 10_000]);
    }

    #[test]
    fn only_controllers_with_a_purpose_are_used() {
        let none = controllers(&Limits::default());
        assert!(none.iter().all(|(_, demanded)| !demanded) && none.len() == 4);
        let cpu = controllers(&Limits {
            cpu_quota_us: Some(1),
            ..Limits::default()
        });
        assert!(cpu.contains(&("cpu", true)));
    }
}
