//! The two guests in machine code. Each says by `out` to a port which step it has done.

use super::Steps;
use crate::failure::{Failure, Result};
use crate::hvt::arch;
use crate::hvt::vm::{Machine, failure};
use crate::memory::{GuestMemory, IMAGE_BASE};
use kvm_bindings::{kvm_dtable, kvm_lapic_state, kvm_msi};
use kvm_ioctls::{Kvm, VcpuExit};

const MEMORY: u64 = 2 << 20;
const CODE: u64 = IMAGE_BASE;
const HANDLER: u64 = IMAGE_BASE + 0x800;
/// Room for one vector of floating-point numbers and a control word.
const DATA: u64 = IMAGE_BASE + 0x1000;
const IDT: u64 = IMAGE_BASE + 0x2000;
const GDT: u64 = IMAGE_BASE + 0x3000;
const VECTOR: u64 = 0x40;
const STEP_PORT: u16 = 0xf1;

pub const TINY: Steps = &["an instruction in long mode", "its halt"];
pub const LINUX: Steps = &["ldmxcsr", "mulps", "xgetbv", "an injected interrupt", "iretq"];

/// The step that an exit reports; a halt is the second of the tiny guest.
pub fn step(exit: &VcpuExit) -> Option<u8> {
    match exit {
        VcpuExit::IoOut(STEP_PORT, [step]) => Some(*step),
        VcpuExit::Hlt => Some(1),
        _ => None,
    }
}

/// A guest that gets to long mode, says so and halts.
pub fn tiny(kvm: &Kvm) -> Result<Machine> {
    let mut memory = GuestMemory::anywhere(MEMORY)?;
    let machine = Machine::new(kvm, &memory)?;
    let code = [
        &report(0)[..],
        &[0xf4], // hlt
    ];
    write(&mut memory, CODE, &code.concat())?;
    arch::set_up(kvm, &machine, &mut memory, CODE, DATA)?;
    Ok(machine)
}

/// A guest that uses floating point and takes an interrupt.
pub fn linux(kvm: &Kvm) -> Result<Machine> {
    let mut memory = GuestMemory::anywhere(MEMORY)?;
    let machine = Machine::prepared(kvm, &memory, |vm| {
        vm.create_irq_chip()
            .map_err(|error| failure("KVM: ioctl (CREATE_IRQCHIP) failed", error))
    })?;
    write(&mut memory, CODE, &linux_code(has_xsave(kvm)?))?;
    let handler = [
        &report(3)[..],
        &[0x48, 0xcf], // iretq
    ];
    write(&mut memory, HANDLER, &handler.concat())?;
    write(&mut memory, DATA, &[1.5_f32; 4].map(f32::to_le_bytes).concat())?;
    write(&mut memory, DATA + 16, &0x1f80_u32.to_le_bytes())?; // the control word after reset
    // An interrupt gate: code segment 8, present.
    let gate = HANDLER & 0xffff | 8 << 16 | 0x8e << 40 | (HANDLER >> 16) << 48;
    write(&mut memory, IDT + 16 * VECTOR, &gate.to_le_bytes())?;
    write(&mut memory, GDT + 8, &0x00af_9900_0000_ffff_u64.to_le_bytes())?;
    write(&mut memory, GDT + 16, &0x00cf_9300_0000_ffff_u64.to_le_bytes())?;
    arch::set_up(kvm, &machine, &mut memory, CODE, DATA)?;

    // Tables that the guest may read: delivering an interrupt loads a segment.
    let call = |what: &'static str| move |error| failure(&format!("KVM: ioctl ({what}) failed"), error);
    let mut special = machine.vcpu.get_sregs().map_err(call("GET_SREGS"))?;
    special.gdt = kvm_dtable {
        base: GDT,
        limit: 23,
        ..Default::default()
    };
    special.idt = kvm_dtable {
        base: IDT,
        limit: 16 * (VECTOR as u16 + 1) - 1,
        ..Default::default()
    };
    machine.vcpu.set_sregs(&special).map_err(call("SET_SREGS"))?;
    let mut apic = machine.vcpu.get_lapic().map_err(call("GET_LAPIC"))?;
    enable(&mut apic);
    machine.vcpu.set_lapic(&apic).map_err(call("SET_LAPIC"))?;
    let interrupt = kvm_msi {
        address_lo: 0xfee0_0000,
        data: VECTOR as u32,
        ..Default::default()
    };
    machine.vm.signal_msi(interrupt).map_err(call("SIGNAL_MSI"))?;
    Ok(machine)
}

/// rdi heads DATA.
fn linux_code(xsave: bool) -> Vec<u8> {
    let xgetbv: &[u8] = &[
        0x0f, 0x20, 0xe0, // mov rax, cr4
        0x48, 0x0d, 0x00, 0x00, 0x04, 0x00, // or rax, 1 << 18 (OSXSAVE)
        0x0f, 0x22, 0xe0, // mov cr4, rax
        0x31, 0xc9, // xor ecx, ecx
        0x0f, 0x01, 0xd0, // xgetbv
    ];
    let parts: [&[u8]; 9] = [
        &[
            0x0f, 0xae, 0x57, 0x10, // ldmxcsr [rdi + 16]
        ],
        &report(0),
        &[
            0x0f, 0x28, 0x07, // movaps xmm0, [rdi]
            0x0f, 0x59, 0xc0, // mulps xmm0, xmm0
            0x66, 0x0f, 0xef, 0xc9, // pxor xmm1, xmm1
        ],
        &report(1),
        if xsave { xgetbv } else { &[] },
        &report(2),
        &[
            0xfb, // sti
            0x90, // nop: the interrupt is taken after it
            0x90, // nop
        ],
        &report(4),
        &[
            0xf4, // hlt
        ],
    ];
    parts.concat()
}

fn report(step: u8) -> [u8; 4] {
    [
        0xb0,
        step, // mov al, step
        0xe6,
        STEP_PORT as u8, // out STEP_PORT, al
    ]
}

/// Whether the processor has XSAVE at all; a Linux guest without it asks for no xgetbv.
fn has_xsave(kvm: &Kvm) -> Result<bool> {
    let cpuid = kvm
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(|error| failure("KVM: ioctl (GET_SUPPORTED_CPUID) failed", error))?;
    Ok(cpuid
        .as_slice()
        .iter()
        .any(|entry| entry.function == 1 && entry.ecx & 1 << 26 != 0))
}

/// Turns the local APIC on: bit 8 of the spurious interrupt register, at 0xf0.
fn enable(apic: &mut kvm_lapic_state) {
    apic.regs[0xf0] = 0xff_u8 as _;
    apic.regs[0xf1] = 1;
}

fn write(memory: &mut GuestMemory, address: u64, bytes: &[u8]) -> Result<()> {
    if memory.write(address, bytes) {
        Ok(())
    } else {
        Err(Failure::new("guest memory is too small"))
    }
}
