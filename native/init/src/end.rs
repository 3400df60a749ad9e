//! The end of the machine.

use std::path::Path;
use std::{fs, io};

use crate::console::say;
use crate::mounts::Mounts;
use crate::settings::Settings;

/// Tells the status where the host asked for it, takes down what was mounted and ends the machine.
pub fn end(status: u8, settings: &Settings, mounts: &Mounts) -> ! {
    if let Some(path) = &settings.exit_file
        && let Err(why) = tell_file(path, status)
    {
        say(format_args!(
            "cannot write the status to {}: {why}",
            path.display()
        ));
    }
    mounts.take_down();
    // Last of all: QEMU's device ends the machine with this.
    if let Some(port) = settings.exit_port
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

fn tell_file(path: &Path, status: u8) -> io::Result<()> {
    use io::Write;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(format!("{status}\n").as_bytes())?;
    // A terminal or a port passes it on at once, a disk at the last sync.
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn tell_port(port: u16, status: u8) -> io::Result<()> {
    // SAFETY: the port was named by the host, to be written to.
    unsafe {
        if libc::ioperm(port.into(), 1, 1) != 0 {
            return Err(io::Error::last_os_error());
        }
        std::arch::asm!("out dx, al", in("dx") port, in("al") status, options(nomem, nostack, preserves_flags));
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn tell_port(_: u16, _: u8) -> io::Result<()> {
    Err(io::Error::other("this architecture has no I/O ports"))
}
