//! `overlay`: layers as one tree, mounted in the warden's own mount namespace, so that it is gone with the warden.

use super::layers::{self, Opened};
use crate::error::{Context, Error, Result};
use crate::path::StatePath;
use crate::plan::Layers;
use crate::session::Session;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};

/// Paths are given as descriptors: names with `:` or `,` in them mean nothing then, and 128 layers fit into the one page that
/// the kernel takes.
fn of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

pub fn execute(step: &Layers, session: &mut Session) -> Result<()> {
    let what = || {
        format!(
            "cannot mount the layers at {}/{}",
            session.dir.path().display(),
            step.at
        )
    };
    let Opened { lowers, target } = layers::open(step, session)?;
    let rw = format!("{}.rw", step.at);
    let [upper, work] = ["upper", "work"].map(|part| {
        let at = StatePath::try_from(format!("{rw}/{part}")).map_err(Error::bad_request)?;
        layers::make_and_open(&session.dir, &at, 0o755)
    });
    let (upper, work) = (upper?, work?);
    layers::copy_owner(&lowers, &upper)?;
    let lower: Vec<String> = lowers.iter().map(of).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        of(&upper),
        of(&work)
    );
    // `volatile`: the tree is thrown away at the end and never survives a crash, so that nothing need be synced for it.
    let mount = |options: String| {
        let data = CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount(
            "overlay",
            of(&target),
            "overlay",
            MountFlags::empty(),
            data.as_c_str(),
        )
    };
    match mount(format!("{options},volatile")) {
        Err(Errno::INVAL) => mount(options).or_system(what),
        other => other.or_system(what),
    }
}

/// After a crash the mount is gone with our mount namespace, and this finds nothing. The upper directory goes with the state directory.
pub fn undo(at: &StatePath, session: &mut Session) -> Result<()> {
    let what = || format!("cannot unmount {}/{at}", session.dir.path().display());
    let Some(target) = layers::open_existing(&session.dir, at)? else {
        return Ok(());
    };
    match rustix::mount::unmount(of(&target), UnmountFlags::DETACH) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(Error::system(what(), error)),
    }
}
