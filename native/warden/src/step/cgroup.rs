//! `cgroup`: a cgroup of the sandbox's own, with limits.

use crate::cgroup;
use crate::error::{Error, Result};
use crate::path::CgroupPath;
use crate::plan;
use crate::session::Session;

/// The last part of the path holds the sandbox's id (engines put a word before or behind it), or all that is in somebody else's cgroup would be
/// killed at the end.
pub fn is_ours(path: &CgroupPath, session: &Session) -> bool {
    path.as_str()
        .rsplit('/')
        .next()
        .is_some_and(|name| name.contains(session.id()))
}

fn must_be_ours(path: &CgroupPath, session: &Session) -> Result<()> {
    if is_ours(path, session) {
        return Ok(());
    }
    Err(Error::step(format!(
        "the cgroup {path} is not of sandbox {}: its last part must hold its id",
        session.id()
    )))
}

pub fn execute(step: &plan::Cgroup, session: &mut Session) -> Result<()> {
    must_be_ours(&step.path, session)?;
    let cgroup = cgroup::Cgroup::create(&step.path, &step.limits, step.warden)?;
    session.memory = cgroup.directory("memory").map(|(directory, _)| directory);
    session.cgroup = Some(cgroup);
    Ok(())
}

pub fn undo(path: &CgroupPath, session: &mut Session) -> Result<()> {
    must_be_ours(path, session)?;
    if session.stays
        && let Some(cgroup) = &mut session.cgroup
        && cgroup.has_warden()
    {
        let _ = cgroup.attached();
        return cgroup.remove_guest();
    }
    if let Some(mut cgroup) = session.cgroup.take() {
        // A process that is just being moved in must not arrive after the killing.
        let _ = cgroup.attached();
        cgroup.leave();
    }
    cgroup::remove(path)
}
