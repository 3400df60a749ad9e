//! What the spawned process may: limits, ids, and no capability at all.

use crate::error::{Context, Error, Result};
use crate::plan::{Credentials, Rlimit};
use crate::sys;
use rustix::process::{Gid, Resource, Uid};

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "cpu" => Resource::Cpu,
        "fsize" => Resource::Fsize,
        "data" => Resource::Data,
        "stack" => Resource::Stack,
        "core" => Resource::Core,
        "rss" => Resource::Rss,
        "nproc" => Resource::Nproc,
        "nofile" => Resource::Nofile,
        "memlock" => Resource::Memlock,
        "as" => Resource::As,
        "locks" => Resource::Locks,
        "sigpending" => Resource::Sigpending,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        _ => return None,
    })
}

/// Sets process limits. A hard limit above the present one needs CAP_SYS_RESOURCE of the warden.
pub fn limit(limits: &[Rlimit]) -> Result<()> {
    for Rlimit { kind, soft, hard } in limits {
        let resource =
            resource(kind).ok_or_else(|| Error::step(format!("the process limit {kind:?} is not known")))?;
        let new = rustix::process::Rlimit {
            current: Some(*soft),
            maximum: Some(*hard),
        };
        rustix::process::setrlimit(resource, new)
            .or_system(|| format!("cannot set the process limit {kind} to {soft}:{hard}"))?;
    }
    Ok(())
}

/// Becomes the user without a way back: the bounding and ambient sets go first, while we still may, then the ids, then whatever
/// capability is left. The order of the lines is the point of this function.
pub fn become_user(user: &Credentials) -> Result<()> {
    sys::drop_bounding_set().or_system(|| "cannot empty the capability bounding set")?;
    rustix::thread::clear_ambient_capability_set().or_system(|| "cannot empty the ambient capability set")?;
    let groups: Vec<Gid> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups)
        .or_system(|| format!("cannot take the groups {:?}", user.groups))?;
    let gid = Gid::from_raw(user.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .or_system(|| format!("cannot become group {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .or_system(|| format!("cannot become user {}", user.uid))?;
    sys::drop_capabilities().or_system(|| "cannot drop capabilities")?;
    // A change of ids takes the parent-death signal away.
    sys::parent_death_signal(libc::SIGKILL);
    rustix::thread::set_no_new_privs(true).or_system(|| "cannot set no_new_privs")
}
