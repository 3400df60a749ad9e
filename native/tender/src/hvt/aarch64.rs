//! An aarch64 guest's first state: EL1, memory mapped one to one, interrupts masked.

use super::vm::{Machine, failure};
use crate::failure::{Failure, Result};
use crate::memory::{GuestMemory, IMAGE_BASE};
use kvm_bindings::kvm_vcpu_init;
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};
use std::arch::asm;

const PGD: u64 = 0x1000;
const PUD: u64 = 0x2000;
const PMD: u64 = 0x3000;
const PTE: u64 = 0x7000;
const ENTRIES: u64 = 512;

const TABLE: u64 = 3;
const PAGE_ENTRY: u64 = 3;
const BLOCK_ENTRY: u64 = 1;
const DEVICE: u64 = 1 << 2; // index 1 of MAIR: nGnRE
const NORMAL: u64 = 4 << 2; // index 4 of MAIR: write-back
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NO_EXECUTE_EL1: u64 = 1 << 53;
const NO_EXECUTE_EL0: u64 = 1 << 54;

/// Memory types nGnRnE, nGnRE, GRE, non-cacheable, write-back, write-through.
const MAIR: u64 = u64::from_le_bytes([0x00, 0x04, 0x0c, 0x44, 0xff, 0xbb, 0, 0]);
/// 40 bits of address, 4 KiB pages, tables cached and shared; nothing through TTBR1; 40 bits of physical address.
const TCR: u64 = 24 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32;
/// The bits that are always 1; then MMU, data cache and instruction cache on.
const SCTLR: u64 = 0x30d0_0800 | 1 | 1 << 2 | 1 << 12;
/// Floating point does not trap.
const CPACR: u64 = 3 << 20;
/// EL1 with its own stack pointer; debug, SError, IRQ and FIQ masked.
const PSTATE: u64 = 0x3c5;

/// Hypercall N is a 32-bit store to this address plus 8 N.
const HYPERCALL_ADDRESS: u64 = 0x1_0000_0000;
pub const HYPERCALLS: u64 = 9;

/// KVM's number of a 64-bit system register.
const fn system(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> u64 {
    0x6030_0000_0013_0000 | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
}

/// KVM's number of a 64-bit core register by its place in `struct kvm_regs`, in bytes.
const fn core(offset: u64) -> u64 {
    0x6030_0000_0010_0000 | (offset / 4)
}

const X0: u64 = core(0);
const PC: u64 = core(256);
const PSTATE_REGISTER: u64 = core(264);
const SP_EL1: u64 = core(272);

/// Hz of the guest's counter.
pub fn cycle_frequency(_: &VcpuFd) -> Result<u64> {
    let frequency: u64;
    // SAFETY: reads a register that every process may read.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack)) };
    Ok(frequency)
}

/// Writes page tables, and puts the processor at `entry` with `argument` as its one argument.
pub fn set_up(_: &Kvm, machine: &Machine, memory: &mut GuestMemory, entry: u64, argument: u64) -> Result<()> {
    let Machine { vm, vcpu } = machine;
    if write_tables(memory).is_none() {
        return Err(Failure::new("Guest memory is too small for page tables"));
    }
    let mut target = kvm_vcpu_init::default();
    vm.get_preferred_target(&mut target)
        .map_err(|error| failure("KVM: ioctl (ARM_PREFERRED_TARGET) failed", error))?;
    vcpu.vcpu_init(&target)
        .map_err(|error| failure("KVM: ioctl (ARM_VCPU_INIT) failed", error))?;
    let registers = [
        (system(3, 0, 10, 2, 0), MAIR),
        (system(3, 0, 2, 0, 2), TCR),
        (system(3, 0, 2, 0, 0), PGD),
        (system(3, 0, 1, 0, 2), CPACR),
        (system(3, 0, 1, 0, 0), SCTLR),
        (PSTATE_REGISTER, PSTATE),
        (X0, argument),
        (SP_EL1, memory.end() - 16),
        (PC, entry),
    ];
    for (register, value) in registers {
        vcpu.set_one_reg(register, &value.to_le_bytes())
            .map_err(|error| failure(&format!("KVM: ioctl (SET_ONE_REG 0x{register:x}) failed"), error))?;
    }
    Ok(())
}

/// All memory one to one: the first 64 KiB not present, up to the image read-only, then in 2 MiB blocks; one more
/// GiB, that of the hypercalls, as a device.
fn write_tables(memory: &mut GuestMemory) -> Option<()> {
    const PAGE: u64 = 0x1000;
    const BLOCK: u64 = 2 << 20;
    let end = memory.end();
    let mut put = |table: u64, index: u64, value: u64| {
        memory
            .write(table + 8 * index, &value.to_le_bytes())
            .then_some(())
    };
    let memory_bits = NORMAL | INNER_SHAREABLE | ACCESSED | NO_EXECUTE_EL0;
    put(PGD, 0, PUD | TABLE)?;
    for index in 0..4 {
        put(PUD, index, (PMD + PAGE * index) | TABLE)?;
    }
    put(
        PUD,
        4,
        HYPERCALL_ADDRESS | DEVICE | ACCESSED | NO_EXECUTE_EL1 | NO_EXECUTE_EL0 | BLOCK_ENTRY,
    )?;
    put(PMD, 0, PTE | TABLE)?;
    for index in 1..end / BLOCK {
        put(PMD, index, (BLOCK * index) | memory_bits | BLOCK_ENTRY)?;
    }
    for index in super::BOOT_INFO / PAGE..ENTRIES {
        let address = PAGE * index;
        let bits = if address < IMAGE_BASE {
            READ_ONLY | NO_EXECUTE_EL1
        } else {
            0
        };
        put(PTE, index, address | memory_bits | bits | PAGE_ENTRY)?;
    }
    Some(())
}

/// What an exit of the processor asks for.
pub enum Request {
    Hypercall {
        number: u64,
        argument: u64,
    },
    /// An address that is no hypercall's, or used otherwise than by a 32-bit store.
    BadAddress {
        address: u64,
        length: usize,
    },
    /// An access to what is memory: the host's protection refused it.
    Memory,
    Other,
}

/// Decodes an exit. `memory_size` tells memory from nothing.
pub fn request(exit: VcpuExit, memory_size: u64) -> Request {
    match exit {
        VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _) if address < memory_size => {
            Request::Memory
        }
        VcpuExit::MmioWrite(address, data) => {
            let number = address.wrapping_sub(HYPERCALL_ADDRESS);
            match *data {
                [a, b, c, d] if number.is_multiple_of(8) && number / 8 < HYPERCALLS => Request::Hypercall {
                    number: number / 8,
                    argument: u64::from(u32::from_le_bytes([a, b, c, d])),
                },
                _ => Request::BadAddress {
                    address,
                    length: data.len(),
                },
            }
        }
        VcpuExit::MmioRead(address, data) => Request::BadAddress {
            address,
            length: data.len(),
        },
        VcpuExit::MemoryFault { .. } => Request::Memory,
        _ => Request::Other,
    }
}

/// Where the processor is, and what messages call that.
pub const PLACE: &str = "pc";

pub fn place(vcpu: &VcpuFd) -> u64 {
    let mut value = [0; 8];
    match vcpu.get_one_reg(PC, &mut value) {
        Ok(_) => u64::from_le_bytes(value),
        Err(_) => 0,
    }
}

/// The request number of the call that [`place`] makes.
pub const PLACE_REQUEST: u64 = 0x4010_aeab; // KVM_GET_ONE_REG
