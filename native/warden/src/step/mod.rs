//! The steps of a plan. One file a kind (kinds that share their undoing share a file), executor and undo side by side;
//! the matches below have no catch-all, so that a new step does not compile without both.

mod cgroup;
mod concat;
mod copy;
mod files;
mod helper;
mod hook;
mod layers;
mod namespaces;
mod nat;
mod network;
mod oci;
mod overlay;
mod root;
mod rootfs;
mod spawn;
mod tap;
mod unmount;

pub use hook::{kept_in as hooks_kept_in, run_after as run_hook_after, run_kept as run_kept_hooks};
pub use oci::{Verb as OciVerb, command as oci_command, exec as oci_exec};
pub use spawn::make_terminal;
pub use unmount::{Mounted, forget as forget_mount};

use crate::error::Result;
use crate::journal::Begun;
use crate::plan::Step;
use crate::session::Session;

/// What the journal keeps of a step that is about to begin.
pub fn begun(step: &Step, session: &mut Session) -> Begun {
    match step {
        Step::Directory(_) => Begun::Directory,
        Step::File(_) => Begun::File,
        Step::Concat(step) => Begun::Concat { at: step.at.clone() },
        Step::Cgroup(step) => Begun::Cgroup {
            path: step.path.clone(),
        },
        Step::Namespaces(_) => Begun::Namespaces,
        Step::Network(step) => Begun::Network(step.clone()),
        Step::Overlay(step) => Begun::Overlay { at: step.at.clone() },
        Step::Copy(_) => Begun::Copy,
        Step::Unmount(step) => Begun::Unmount {
            at: step.at.clone(),
            mount: unmount::mounted(step, session),
        },
        Step::Rootfs(step) => Begun::Rootfs { at: step.at.clone() },
        Step::Root(_) => Begun::Root,
        Step::Bind(_) => Begun::Bind,
        Step::Mount(_) => Begun::Mount,
        Step::Device(_) => Begun::Device,
        Step::Open(_) => Begun::Open,
        Step::Tap(step) => Begun::Tap {
            redirect: step.redirect.clone(),
            named: step.owner.map(|_| step.name.clone()),
            netns: session
                .network
                .as_ref()
                .and_then(|network| network.joined.clone()),
        },
        Step::Nat(step) => Begun::Nat {
            step: step.clone(),
            netns: session
                .network
                .as_ref()
                .and_then(|network| network.joined.clone()),
        },
        Step::Hook(_) => Begun::Hook,
        Step::Oci(step) => Begun::Oci {
            runtime: step.runtime,
            cgroup: oci::cgroup_of(step, session),
        },
        Step::Helper(_) => Begun::Helper,
        Step::Spawn(_) => Begun::Spawn,
    }
}

pub fn execute(step: &Step, session: &mut Session) -> Result<()> {
    match step {
        Step::Directory(step) => files::make_directory(step, session),
        Step::File(step) => files::write_file(step, session),
        Step::Concat(step) => concat::execute(step, session),
        Step::Cgroup(step) => cgroup::execute(step, session),
        Step::Namespaces(step) => namespaces::execute(step, session),
        Step::Network(step) => network::execute(step, session),
        Step::Overlay(step) => overlay::execute(step, session),
        Step::Copy(step) => copy::execute(step, session),
        Step::Unmount(step) => unmount::execute(step, session),
        Step::Rootfs(step) => rootfs::execute(step, session),
        Step::Root(step) => root::create(step, session),
        Step::Bind(step) => root::bind(step, session),
        Step::Mount(step) => root::mount(step, session),
        Step::Device(step) => root::device(step, session),
        Step::Open(step) => files::open(step, session),
        Step::Tap(step) => tap::execute(step, session),
        Step::Nat(step) => nat::execute(step, session),
        Step::Hook(step) => hook::execute(step, session),
        Step::Oci(step) => oci::execute(step, session),
        Step::Helper(step) => helper::execute(step, session),
        Step::Spawn(step) => spawn::execute(step, session),
    }
}

/// Undoes a step, whether it was finished, broken off or undone before.
pub fn undo(begun: &Begun, session: &mut Session) -> Result<()> {
    match begun {
        Begun::Directory | Begun::File | Begun::Open => files::undo(session),
        Begun::Concat { at } => concat::undo(at, session),
        Begun::Cgroup { path } => cgroup::undo(path, session),
        Begun::Namespaces => namespaces::undo(session),
        Begun::Network(step) => network::undo(step, session),
        Begun::Overlay { at } => overlay::undo(at, session),
        Begun::Copy => copy::undo(session),
        Begun::Unmount { at, mount } => unmount::undo(at, mount.as_ref(), session),
        Begun::Rootfs { at } => rootfs::undo(at, session),
        Begun::Root | Begun::Bind | Begun::Mount | Begun::Device => root::undo(session),
        Begun::Tap {
            redirect,
            named,
            netns,
        } => tap::undo(redirect.as_deref(), named.as_deref(), netns.as_ref(), session),
        Begun::Nat { step, netns } => nat::undo(step, netns.as_ref(), session),
        Begun::Hook => hook::undo(session),
        Begun::Oci { runtime, cgroup } => oci::undo(*runtime, cgroup.as_ref(), session),
        Begun::Helper => helper::undo(session),
        Begun::Spawn => spawn::undo(session),
    }
}
