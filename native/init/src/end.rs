//! The end of the machine.

use alloc::format;

use crate::console::say;
use crate::mounts::Mounts;
use crate::settings::Settings;
use crate::system::{Errno, write_file};

/// Tells the status where the host asked for it, takes down what was mounted and ends the machine.
pub fn end(status: u8, settings: &Settings, mounts: &Mounts) -> ! {
    if let Some(path) = &settings.exit_file
        // A terminal or a port passes it on at once, a disk at the last sync.
        && let Err(why) = write_file(path, format!("{status}\n").as_bytes())
    {
        let name = path.to_bytes().escape_ascii();
        say(format_args!("cannot write the status to {name}: {why}"));
    }
    mounts.take_down();
    // Last of all: QEMU's device ends the machine with this. Success needs no saying, and 0 would read as QEMU's own failure.
    if let Some(port) = settings.exit_port
        && status != 0
        && let Err(why) = tell_port(port, status)
    {
        say(format_args!("cannot write the status to port {port:#x}: {why}"));
    }
    let how = if settings.power_off {
        libc::RB_POWER_OFF
    } else {
        libc::RB_AUTOBOOT
    };
    // SAFETY: everything is written back.
    unsafe {
        libc::reboot(how);
        // Not allowed, or not known: the kernel does what its `panic=` says when process 1 ends.
        libc::_exit(status.into())
    }
}

#[cfg(target_arch = "x86_64")]
fn tell_port(port: u16, status: u8) -> Result<(), Errno> {
    // SAFETY: the port was named by the host, to be written to.
    unsafe {
        crate::system::check(libc::ioperm(port.into(), 1, 1))?;
        core::arch::asm!("out dx, al", in("dx") port, in("al") status, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}

/// This architecture has no I/O ports.
#[cfg(not(target_arch = "x86_64"))]
fn tell_port(_: u16, _: u8) -> Result<(), Errno> {
    Err(Errno(libc::ENODEV))
}
