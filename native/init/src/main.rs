//! Process 1 of a Linux guest: sets the machine up as the host says, runs one program, and ends the machine with it.
//! README.md says what it reads and what it does.
// The standard library's start would end the program where there is no console and no /dev/null yet.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "tests have a main of their own"))]

mod child;
mod config;
mod console;
mod disks;
mod end;
mod mounts;
mod route;
mod settings;
mod words;

use std::ffi::{CStr, CString, c_char, c_int};

use config::Config;
use mounts::Mounts;
use settings::Settings;

/// What the machine ends with when the program was not started for want of something that is the host's to give.
const NOT_SET_UP: u8 = 125;

#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    // SAFETY: has no conditions.
    if unsafe { libc::getpid() } != 1 {
        console::say(format_args!("is a guest's process 1 and nothing else"));
        return NOT_SET_UP.into();
    }
    let words = (0..usize::try_from(count).unwrap_or(0))
        // SAFETY: so many strings are there, and they stay.
        .map(|at| unsafe { CStr::from_ptr(*words.add(at)) }.to_bytes().to_vec())
        .skip(1)
        .collect();
    let mut mounts = Mounts::default();
    mounts.mount_system();
    console::open();
    let (status, settings) = match Settings::read(std::env::vars_os()) {
        Ok(settings) => (run(words, &settings, &mut mounts), settings),
        Err(why) => (Err(why), Settings::default()),
    };
    let status = status.unwrap_or_else(|why| {
        console::say(format_args!("{why}"));
        NOT_SET_UP
    });
    end::end(status, &settings, &mounts)
}

/// Sets up what is asked for, runs the program and returns its status.
fn run(words: Vec<Vec<u8>>, settings: &Settings, mounts: &mut Mounts) -> Result<u8, String> {
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
            settings::environment_of_program(std::env::vars_os())
        } else {
            config.environment
        },
        uid: config.uid,
        gid: config.gid,
        directory: config.directory,
    })
}

fn read_config(path: &std::path::Path) -> Result<Config, String> {
    use std::io::Read;
    const MOST_BYTES: u64 = 4 << 20;
    let name = path.display();
    let mut file = Vec::new();
    std::fs::File::open(path)
        .and_then(|opened| opened.take(MOST_BYTES + 1).read_to_end(&mut file))
        .map_err(|why| format!("cannot read {name}: {why}"))?;
    if file.len() as u64 > MOST_BYTES {
        return Err(format!("{name} is longer than {MOST_BYTES} bytes"));
    }
    Config::parse(&file).map_err(|why| format!("{name}, {why}"))
}
