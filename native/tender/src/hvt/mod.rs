//! ABI `hvt` 2: the guest is a KVM machine with one processor, memory and nothing else. It asks by hypercall, the
//! tender answers, and between the two only the filter's few system calls are left to this process.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
pub mod arch;
mod calls;
mod console;
mod filter;
mod run;
pub mod vm;

use crate::boot::{self, COMMAND_LINE_SIZE, Launch};
use crate::failure::{Failure, Result};
use crate::memory::{GuestMemory, IMAGE_BASE};
use std::convert::Infallible;
use std::os::fd::RawFd;

/// Guest memory comes in the processor's large pages.
const GRANULE: u64 = 2 << 20;
/// Addresses in hypercalls have 32 bits.
const MAX_MEMORY: u64 = 4 << 30;
const BOOT_INFO: u64 = 0x1_0000;
const BOOT_INFO_SIZE: u64 = 56;

/// The size that a guest gets for the bytes asked for: a multiple of 2 MiB, at least one.
pub fn memory_size(asked: u64) -> Result<u64> {
    let size = (asked / GRANULE).max(1) * GRANULE;
    if size > MAX_MEMORY {
        return Err(Failure::new(format!(
            "guest memory size {size} bytes exceeds the max size {MAX_MEMORY} bytes"
        )));
    }
    Ok(size)
}

/// Makes the machine, loads the guest and runs it to its end. Returns only where it could not begin. `program` heads
/// messages; `kvm` is an open /dev/kvm to use in place of ours.
pub fn run(launch: &Launch, program: &str, kvm: Option<RawFd>) -> Result<Infallible> {
    let kvm = vm::open(kvm)?;
    let mut memory = GuestMemory::anywhere(launch.memory_size)?;
    let mut machine = vm::Machine::new(&kvm, &memory)?;
    boot::load(launch.name, launch.file, launch.placement, &mut memory)?;
    for segment in &launch.placement.segments {
        // The processor cannot be kept from running pages here, and reading is always allowed; what is left is writing.
        if !segment.writable {
            memory.protect(segment.start..segment.end, libc::PROT_READ)?;
        }
    }
    let frequency = arch::cycle_frequency(&machine.vcpu)?;
    write_boot_info(launch, &mut memory, frequency)?;
    arch::set_up(&kvm, &machine, &mut memory, launch.placement.entry, BOOT_INFO)?;
    let mut calls = calls::Calls::new(memory, launch.devices);
    let filter = filter::program(launch.devices, &machine.vcpu)?;
    let program = console::Name::new(program);
    launch.say_ready()?;
    filter::install(&filter)?;
    run::run(&mut machine.vcpu, &mut calls, &program)
}

fn write_boot_info(launch: &Launch, memory: &mut GuestMemory, frequency: u64) -> Result<()> {
    let manifest = launch.manifest.encode(launch.devices, false);
    let manifest_at = BOOT_INFO + BOOT_INFO_SIZE;
    let command_line_at = manifest_at + manifest.len() as u64;
    debug_assert!(command_line_at + (COMMAND_LINE_SIZE as u64) < IMAGE_BASE);
    // host_features, guest_features and net_ring follow and stay 0. The room for them must be there all the same: a
    // guest that knows them would otherwise read the manifest for them.
    let values = [
        launch.memory_size,
        launch.placement.kernel_end,
        frequency,
        command_line_at,
        manifest_at,
    ];
    let info: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let written = memory.write(BOOT_INFO, &info)
        && memory.write(manifest_at, &manifest)
        && memory.write(command_line_at, launch.command_line);
    if written {
        Ok(())
    } else {
        Err(Failure::new("Guest memory is too small for the boot information"))
    }
}

#[cfg(test)]
mod tests {
    use super::memory_size;

    #[test]
    fn memory_is_rounded_down_to_2_mib_and_limited_to_4_gib() {
        assert_eq!(memory_size(1 << 20).unwrap(), 2 << 20);
        assert_eq!(memory_size(5 << 20).unwrap(), 4 << 20);
        assert_eq!(memory_size(4 << 30).unwrap(), 4 << 30);
        let refused = memory_size((4 << 30) + (2 << 20)).unwrap_err().0;
        assert_eq!(
            refused,
            "guest memory size 4297064448 bytes exceeds the max size 4294967296 bytes"
        );
    }
}
