//! `tripod-tender`: runs one Solo5 unikernel in this process and ends with its exit status, or with 1 for anything that
//! is the tender's to say. stdout carries only what the guest writes.

#![deny(unsafe_op_in_unsafe_fn)]

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use tripod_tender::cli::{self, Command, Refusal};
use tripod_tender::elf::{self, Target};
use tripod_tender::failure::{Failure, Result};
use tripod_tender::{boot, devices, hvt, probe, signals, spt};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let (program, args) = match args.split_first() {
        Some((path, args)) => (
            Path::new(path).file_name().unwrap_or(path).to_string_lossy(),
            args,
        ),
        None => ("tripod-tender".into(), args.as_slice()),
    };
    if let Some((first, rest)) = args.split_first()
        && first == "probe-kvm"
    {
        return match probe::main(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => say(&[format!("{program}: {failure}")]),
        };
    }
    match cli::parse(args) {
        Command::Help => say(&[cli::usage(&program)]),
        Command::Version => {
            say(&[
                format!("{program} tender, version v{}", env!("CARGO_PKG_VERSION")),
                "ABI version 2".into(),
            ]);
            ExitCode::SUCCESS
        }
        Command::NoKernel => say(&[format!("{program}: Missing KERNEL operand"), cli::usage(&program)]),
        Command::Run {
            options,
            kernel,
            args,
        } => match run(&program, &options, kernel, args) {
            Ok(never) => match never {},
            Err(lines) => say(&lines),
        },
    }
}

/// Writes lines to stderr. The exit status of a tender that has something to say is 1.
fn say(lines: &[String]) -> ExitCode {
    let mut text = lines.join("\n");
    text.truncate(text.trim_end().len());
    text.push('\n');
    // Nobody is left to be told when stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}

fn run(
    program: &str,
    options: &[&OsStr],
    kernel: &OsStr,
    args: &[OsString],
) -> std::result::Result<Infallible, Vec<String>> {
    let told = |failure: Failure| vec![format!("{program}: {failure}")];
    let name = kernel.to_string_lossy();
    let invalid = |error: elf::Invalid| vec![format!("{program}: {name}: {error}")];

    // First: as process 1 of a PID namespace a signal that comes before would be lost.
    signals::install().map_err(told)?;
    check_personality().map_err(told)?;
    let file = open(kernel).map_err(told)?;
    let image = elf::inspect(&file).map_err(invalid)?;
    let settings =
        cli::interpret(options, image.target, &image.manifest).map_err(|refusal| match refusal {
            Refusal::Option { option, warning } => {
                let texts = warning.into_iter().chain([format!("Invalid option: `{option}'")]);
                texts
                    .map(|text| format!("{program}: {text}"))
                    .chain([cli::usage(program)])
                    .collect()
            }
            Refusal::Devices(lines) => lines
                .iter()
                .map(|line| format!("{program}: {line}"))
                .collect::<Vec<_>>(),
        })?;
    let command_line = boot::command_line(args).map_err(told)?;
    let memory_size = settings.memory_mib << 20;
    let launch = |memory_size, placement| boot::Launch {
        name: &name,
        file: &file,
        placement,
        manifest: &image.manifest,
        devices: &settings.devices,
        command_line: &command_line,
        memory_size,
        executable_heap: settings.executable_heap,
        ready: settings.ready,
    };
    match image.target {
        Target::Spt => {
            if settings.executable_heap {
                say(&[format!(
                    "{program}: WARNING: The use of --x-exec-heap is dangerous and not recommended as it makes the \
                     heap and stack executable."
                )]);
            }
            let placement = image.place(memory_size).map_err(invalid)?;
            spt::run(&launch(memory_size, &placement)).map_err(told)
        }
        Target::Hvt => {
            let adjusted = hvt::memory_size(memory_size).map_err(told)?;
            if adjusted != memory_size {
                say(&[format!("{program}: adjusting memory to {adjusted} bytes")]);
            }
            let placement = image.place(adjusted).map_err(invalid)?;
            hvt::run(&launch(adjusted, &placement), program, settings.kvm).map_err(told)
        }
    }
}

/// Under READ_IMPLIES_EXEC every page of the guest would be executable.
fn check_personality() -> Result<()> {
    // SAFETY: this argument only asks.
    let personality = unsafe { libc::personality(0xffff_ffff) };
    if personality >= 0 && personality & libc::READ_IMPLIES_EXEC != 0 {
        return Err(Failure::new(
            "Cannot run with the personality READ_IMPLIES_EXEC: it makes all memory executable",
        ));
    }
    Ok(())
}

/// Opens a regular file, or takes the descriptor of `@N`. A name that begins with `@` is written `./@…`.
fn open(kernel: &OsStr) -> Result<File> {
    let name = kernel.to_string_lossy();
    let file = match kernel.as_bytes().split_first() {
        Some((b'@', number)) => {
            let fd = devices::inherited_fd(&String::from_utf8_lossy(number))?;
            // SAFETY: open, and given to us for this alone.
            unsafe { File::from_raw_fd(fd) }
        }
        // Non-blocking, or a FIFO would hold us here.
        _ => File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(kernel)
            .map_err(|error| Failure::system(format!("{name}: Could not open"), &error))?,
    };
    let metadata = file
        .metadata()
        .map_err(|error| Failure::system(format!("{name}: Could not open"), &error))?;
    if !metadata.is_file() {
        return Err(Failure::new(format!(
            "{name}: Could not open: Not a regular file"
        )));
    }
    Ok(file)
}
