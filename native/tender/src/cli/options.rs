//! The options' meaning, once it is known which ABI and which devices the kernel has.

use crate::devices::{Device, block, net};
use crate::elf::Target;
use crate::failure::Failure;
use crate::manifest::{Kind, Manifest};
use std::ffi::OsStr;
use std::os::fd::RawFd;

/// MiB.
const DEFAULT_MEMORY: u64 = 512;
/// MiB; 128 TiB, beyond any address a guest can have.
const MAX_MEMORY: u64 = 1 << 27;

/// How to run the kernel.
#[derive(Debug)]
pub struct Settings {
    pub memory_mib: u64,
    pub executable_heap: bool,
    /// An open /dev/kvm in place of ours.
    pub kvm: Option<RawFd>,
    /// Where a line is written when all is ready for the guest.
    pub ready: Option<RawFd>,
    /// One for each entry of the manifest.
    pub devices: Vec<Device>,
}

/// Why the options are not usable.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This option, said with the usage text; `warning` tells more where there is more to tell.
    Option { option: String, warning: Option<String> },
    /// The options together, a line each.
    Devices(Vec<String>),
}

#[derive(Default)]
struct Wish {
    block: Option<RawFd>,
    block_size: Option<u16>,
    net: Option<net::Opened>,
    mac: Option<[u8; 6]>,
    mtu: Option<u16>,
}

struct Interpreter<'a> {
    target: Target,
    manifest: &'a Manifest,
    memory_mib: u64,
    executable_heap: bool,
    kvm: Option<RawFd>,
    ready: Option<RawFd>,
    wishes: Vec<Wish>,
}

/// Interprets all options and opens what they attach.
pub fn interpret(options: &[&OsStr], target: Target, manifest: &Manifest) -> Result<Settings, Refusal> {
    let mut interpreter = Interpreter {
        target,
        manifest,
        memory_mib: DEFAULT_MEMORY,
        executable_heap: false,
        kvm: None,
        ready: None,
        wishes: manifest.devices.iter().map(|_| Wish::default()).collect(),
    };
    for option in options {
        interpreter
            .option(option.to_str())
            .map_err(|warning| Refusal::Option {
                option: option.to_string_lossy().into_owned(),
                warning,
            })?;
    }
    let devices = attach(manifest, &interpreter.wishes).map_err(Refusal::Devices)?;
    let Interpreter {
        memory_mib,
        executable_heap,
        kvm,
        ready,
        ..
    } = interpreter;
    Ok(Settings {
        memory_mib,
        executable_heap,
        kvm,
        ready,
        devices,
    })
}

/// What to say besides "Invalid option".
type Warning = Option<String>;

impl Interpreter<'_> {
    fn option(&mut self, option: Option<&str>) -> Result<(), Warning> {
        let (name, value) = match option.map(|text| (text, text.split_once('='))) {
            Some(("--x-exec-heap", _)) if self.target == Target::Spt => {
                self.executable_heap = true;
                return Ok(());
            }
            Some((_, Some(pair))) => pair,
            _ => return Err(None),
        };
        match name.split_once(':') {
            None => self.core(name, value),
            Some((option, device)) => self.device(option, device, value),
        }
    }

    fn core(&mut self, name: &str, value: &str) -> Result<(), Warning> {
        match name {
            "--mem" => {
                self.memory_mib =
                    memory(value).ok_or_else(|| Some("Malformed argument to --mem".to_string()))?;
            }
            "--kvm" if self.target == Target::Hvt => {
                self.kvm = Some(kvm_fd(value).map_err(|failure| Some(failure.0))?);
            }
            "--ready" => {
                self.ready = Some(given_fd(name, value).map_err(|failure| Some(failure.0))?);
            }
            _ => return Err(None),
        }
        Ok(())
    }

    fn device(&mut self, option: &str, name: &str, value: &str) -> Result<(), Warning> {
        let kind = match option {
            "--net" | "--net-mac" | "--net-mtu" => Kind::Net,
            "--block" | "--block-sector-size" => Kind::Block,
            _ => return Err(None),
        };
        if name.is_empty()
            || name.len() > 67
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            || value.is_empty()
        {
            return Err(None);
        }
        let undeclared = || Some(format!("Resource not declared in manifest: '{name}'"));
        let wish = self
            .manifest
            .find(name, kind)
            .and_then(|index| self.wishes.get_mut(index))
            .ok_or_else(undeclared)?;
        let malformed = || Some(format!("Malformed argument to {option}"));
        let told = |failure: Failure| Some(failure.0);
        let again = || Some(format!("Device '{name}' is attached twice"));
        match option {
            "--net" if wish.net.is_some() => return Err(again()),
            "--block" if wish.block.is_some() => return Err(again()),
            "--net" => wish.net = Some(net::open(value).map_err(told)?),
            "--net-mac" => wish.mac = Some(net::mac(value).ok_or_else(malformed)?),
            "--net-mtu" => wish.mtu = Some(net::mtu(value).ok_or_else(malformed)?),
            "--block" => wish.block = Some(block::open(value).map_err(told)?),
            _ => wish.block_size = Some(block::block_size(value).map_err(told)?),
        }
        Ok(())
    }
}

/// MiB. As Solo5 reads it: a number, and what follows it is ignored.
fn memory(text: &str) -> Option<u64> {
    let end = text
        .bytes()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end]
        .parse()
        .ok()
        .filter(|mib| (1..=MAX_MEMORY).contains(mib))
}

/// The descriptor of `--kvm=@FD`.
pub fn kvm_fd(value: &str) -> Result<RawFd, Failure> {
    given_fd("--kvm", value)
}

/// The descriptor of `OPTION=@FD`.
fn given_fd(option: &str, value: &str) -> Result<RawFd, Failure> {
    let number = value
        .strip_prefix('@')
        .ok_or_else(|| Failure::new(format!("Malformed argument to {option}")))?;
    crate::devices::inherited_fd(number)
}

fn attach(manifest: &Manifest, wishes: &[Wish]) -> Result<Vec<Device>, Vec<String>> {
    let declared = || manifest.devices.iter().zip(wishes);
    let mut missing: Vec<String> = declared()
        .filter(|(_, wish)| wish.net.is_none() && wish.block.is_none())
        .map(|(entry, _)| {
            format!(
                "Device '{}' of type {} declared but not attached.",
                entry.name,
                entry.kind.name()
            )
        })
        .collect();
    if !missing.is_empty() {
        missing.push("All declared devices must be attached. See --help for syntax.".into());
        return Err(missing);
    }
    declared()
        .filter_map(|(entry, wish)| match (&wish.net, wish.block) {
            (Some(opened), _) => Some(net::attach(opened, wish.mac, wish.mtu).map(Device::Net)),
            (None, Some(fd)) => {
                let size = wish.block_size.unwrap_or(block::DEFAULT_BLOCK_SIZE);
                Some(block::attach(&entry.name, fd, size).map(Device::Block))
            }
            (None, None) => None,
        })
        .collect::<Result<Vec<_>, Failure>>()
        .map_err(|failure| vec![failure.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Entry;

    fn refuse(options: &[&str], target: Target, devices: &[(&str, Kind)]) -> Refusal {
        let devices = devices
            .iter()
            .map(|(name, kind)| Entry {
                name: name.to_string(),
                kind: *kind,
            })
            .collect();
        let options: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        interpret(&options, target, &Manifest { devices }).expect_err("refused")
    }

    fn warning(options: &[&str], target: Target, devices: &[(&str, Kind)]) -> Option<String> {
        match refuse(options, target, devices) {
            Refusal::Option { warning, .. } => warning,
            Refusal::Devices(lines) => Some(lines.join("\n")),
        }
    }

    #[test]
    fn memory_is_a_number_of_mib_and_junk_after_it_is_ignored() {
        assert_eq!(
            (memory("2"), memory("64M"), memory("512 x")),
            (Some(2), Some(64), Some(512))
        );
        assert_eq!(
            (
                memory("0"),
                memory(""),
                memory("M"),
                memory("-1"),
                memory("99999999999999999999")
            ),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn options_that_solo5_refuses_are_refused_with_its_texts() {
        let net = [("n", Kind::Net)];
        assert_eq!(
            warning(&["--mem=x"], Target::Spt, &[]).as_deref(),
            Some("Malformed argument to --mem")
        );
        assert_eq!(
            warning(&["--net:a=t"], Target::Spt, &net).as_deref(),
            Some("Resource not declared in manifest: 'a'")
        );
        assert_eq!(
            warning(&["--block:n=t"], Target::Spt, &net).as_deref(),
            Some("Resource not declared in manifest: 'n'")
        );
        for unknown in [
            "--nope",
            "--mem",
            "--net:n",
            "--net:=x",
            "--net:a-b=x",
            "-x",
            "--gdb",
            "--x-exec-heap=1",
        ] {
            assert_eq!(warning(&[unknown], Target::Spt, &net), None, "{unknown}");
        }
        assert_eq!(warning(&["--x-exec-heap"], Target::Hvt, &[]), None);
        assert_eq!(warning(&["--kvm=@9"], Target::Spt, &[]), None);
    }

    #[test]
    fn every_declared_device_must_be_attached() {
        let expected = "Device 'n' of type NET_BASIC declared but not attached.\n\
            Device 'b' of type BLOCK_BASIC declared but not attached.\n\
            All declared devices must be attached. See --help for syntax.";
        let said = warning(&[], Target::Hvt, &[("n", Kind::Net), ("b", Kind::Block)]);
        assert_eq!(said.as_deref(), Some(expected));
    }
}
