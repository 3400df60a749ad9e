//! Process 1 of a Linux guest: sets the machine up as the host says, runs one program, and ends the machine with it.
//! README.md says what it reads and what it does.
#![cfg_attr(not(test), no_std, no_main)]
#![cfg_attr(test, allow(dead_code, reason = "tests have a main of their own"))]

mod child;
mod config;
mod console;
mod disks;
mod end;
mod mounts;
mod route;
#[cfg(not(test))]
mod runtime;
mod settings;
mod system;
mod words;

extern crate alloc;

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int};

use config::Config;
use mounts::Mounts;
use settings::Settings;

/// What the machine ends with when the program was not started for want of something that is the host's to give.
const NOT_SET_UP: u8 = 125;

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(_: c_int, words: *const *const c_char, environment: *const *const c_char) -> c_int {
    // SAFETY: has no conditions.
    if unsafe { libc::getpid() } != 1 {
        console::say(format_args!("is a guest's process 1 and nothing else"));
        return NOT_SET_UP.into();
    }
    // SAFETY: the kernel's lists, which stay.
    let (words, environment) = unsafe { (system::strings(words), system::strings(environment)) };
    let words = words
        .iter()
        .skip(1)
        .map(|word| word.to_bytes().to_vec())
        .collect();
    let mut mounts = Mounts::default();
    mounts.mount_system();
    console::open();
    let mut settings = Settings::default();
    let status = settings
        .read(&environment)
        .and_then(|()| run(words, &environment, &settings, &mut mounts));
    let status = status.unwrap_or_else(|why| {
        console::say(format_args!("{why}"));
        NOT_SET_UP
    });
    end::end(status, &settings, &mounts)
}

/// Sets up what is asked for, runs the program and returns its status.
fn run(
    words: Vec<Vec<u8>>,
    environment: &[&CStr],
    settings: &Settings,
    mounts: &mut Mounts,
) -> Result<u8, String> {
    let config = match &settings.config {
        Some(path) => read_config(path)?,
        None => Config::default(),
    };
    let words = if settings.verbatim {
        words
    } else {
        words::joined(words)
    };
    let words: Vec<CString> = words
        .into_iter()
        .filter_map(|word| CString::new(word).ok())
        .collect();
    if words.is_empty() {
        return Err("no program is named: the boot line wants `-- PROGRAM ARGUMENT…` at its end".into());
    }
    for (disk, device) in config.disks.iter().zip(disks::find(&config.disks)?) {
        mounts.mount_disk(&device, &disk.mount_point)?;
    }
    if settings.default_route {
        route::add_default(c"eth0").map_err(|why| format!("no default route over eth0: {why}"))?;
    }
    child::run(&child::Program {
        words,
        environment: if config.environment.is_empty() {
            settings::environment_of_program(environment)
        } else {
            config.environment
        },
        uid: config.uid,
        gid: config.gid,
        directory: config.directory,
    })
}

fn read_config(path: &CStr) -> Result<Config, String> {
    const MOST_BYTES: usize = 4 << 20;
    let name = path.to_bytes().escape_ascii();
    let file = system::read_file(path, MOST_BYTES).map_err(|why| format!("cannot read {name}: {why}"))?;
    if file.len() > MOST_BYTES {
        return Err(format!("{name} is longer than {MOST_BYTES} bytes"));
    }
    Config::parse(&file).map_err(|why| format!("{name}, {why}"))
}
