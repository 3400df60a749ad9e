//! The two guests in machine code. Each says by a store to an address of the hypercalls which step it has done.

use super::Steps;
use crate::failure::{Failure, Result};
use crate::hvt::arch;
use crate::hvt::vm::{Machine, failure};
use crate::memory::{GuestMemory, IMAGE_BASE};
use kvm_bindings::{
    kvm_create_device, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
};
use kvm_ioctls::{Kvm, VcpuExit};

const MEMORY: u64 = 2 << 20;
const CODE: u64 = IMAGE_BASE;
const STEP_ADDRESS: u64 = 0x1_0000_0000;

pub const TINY: Steps = &["an instruction"];
pub const LINUX: Steps = &["floating point"];

/// The step that an exit reports.
pub fn step(exit: &VcpuExit) -> Option<u8> {
    match exit {
        VcpuExit::MmioWrite(STEP_ADDRESS, [step, 0, 0, 0]) => Some(*step),
        _ => None,
    }
}

/// A guest that says it is there.
pub fn tiny(kvm: &Kvm) -> Result<Machine> {
    let memory = GuestMemory::anywhere(MEMORY)?;
    let machine = Machine::new(kvm, &memory)?;
    start(kvm, machine, memory, &[])
}

/// A guest that uses floating point, on a machine that can have an interrupt controller.
pub fn linux(kvm: &Kvm) -> Result<Machine> {
    // On a machine of its own: one that has a controller does not run before it is set up.
    let other = kvm
        .create_vm()
        .map_err(|error| failure("KVM: ioctl (CREATE_VM) failed", error))?;
    let kinds = [
        kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
        kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2,
    ];
    if !kinds.iter().any(|&type_| {
        other
            .create_device(&mut kvm_create_device {
                type_,
                fd: 0,
                flags: 0,
            })
            .is_ok()
    }) {
        return Err(Failure::new("no interrupt controller for guests"));
    }
    let memory = GuestMemory::anywhere(MEMORY)?;
    let machine = Machine::new(kvm, &memory)?;
    let floating_point = [
        0x1e2e_1000, // fmov s0, #1.0
        0x1e20_0800, // fmul s0, s0, s0
    ];
    start(kvm, machine, memory, &floating_point)
}

/// `code`, then a report of step 0 and an endless loop.
fn start(kvm: &Kvm, machine: Machine, mut memory: GuestMemory, code: &[u32]) -> Result<Machine> {
    let ending = [
        0x5280_0000, // mov w0, #0
        0xd2c0_0021, // mov x1, #1 << 32
        0xb900_0020, // str w0, [x1]
        0x1400_0000, // b .
    ];
    let code: Vec<u8> = code
        .iter()
        .chain(&ending)
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    if !memory.write(CODE, &code) {
        return Err(Failure::new("guest memory is too small"));
    }
    arch::set_up(kvm, &machine, &mut memory, CODE, 0)?;
    Ok(machine)
}
