//! An x86_64 guest's first state: long mode, memory mapped one to one, flat segments, no interrupts.

use super::vm::{Machine, failure};
use crate::failure::{Failure, Result};
use crate::memory::{GuestMemory, IMAGE_BASE};
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment};
use kvm_ioctls::{Cap, Kvm, VcpuExit, VcpuFd};

const GDT: u64 = 0x1000;
const PML4: u64 = 0x2000;
const PDPT: u64 = 0x3000;
const PD: u64 = 0x4000;
const PT0: u64 = 0x8000;
const ENTRIES: u64 = 512;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
/// The entry of a directory maps a 2 MiB page itself.
const LARGE: u64 = 0x80;

const CR0_PE: u64 = 1;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

const MAX_CPUID_ENTRIES: usize = 100;
/// Hypercall N is a 32-bit `out` to this port plus N.
const HYPERCALL_PORT: u16 = 0x500;
pub const HYPERCALLS: u64 = 9;

/// Hz of the guest's cycle counter.
pub fn cycle_frequency(vcpu: &VcpuFd) -> Result<u64> {
    match vcpu.get_tsc_khz() {
        Ok(khz) if khz > 0 => Ok(u64::from(khz) * 1000),
        _ => Err(Failure::new("KVM: host TSC is unstable, cannot continue")),
    }
}

/// Writes page tables and GDT, and puts the processor at `entry` with `argument` as its one argument.
pub fn set_up(
    kvm: &Kvm,
    machine: &Machine,
    memory: &mut GuestMemory,
    entry: u64,
    argument: u64,
) -> Result<()> {
    if !kvm.check_extension(Cap::GetTscKhz) {
        return Err(Failure::new("KVM: the host lacks KVM_CAP_GET_TSC_KHZ"));
    }
    let written = write_tables(memory).is_some();
    if !written {
        return Err(Failure::new("Guest memory is too small for page tables"));
    }
    let Machine { vcpu, .. } = machine;
    let cpuid = kvm
        .get_supported_cpuid(MAX_CPUID_ENTRIES)
        .map_err(|error| failure("KVM: ioctl (GET_SUPPORTED_CPUID) failed", error))?;
    vcpu.set_cpuid2(&cpuid)
        .map_err(|error| failure("KVM: ioctl (SET_CPUID2) failed", error))?;

    let mut special = vcpu
        .get_sregs()
        .map_err(|error| failure("KVM: ioctl (GET_SREGS) failed", error))?;
    special.cr0 = CR0_PE | CR0_NE | CR0_WP | CR0_PG;
    special.cr3 = PML4;
    special.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    special.efer = EFER_LME | EFER_LMA;
    let flat = kvm_segment {
        limit: 0xffff_ffff,
        present: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    special.cs = kvm_segment {
        selector: 8,
        type_: 9,
        l: 1,
        ..flat
    };
    let data = kvm_segment {
        selector: 16,
        type_: 3,
        db: 1,
        ..flat
    };
    (special.ss, special.ds, special.es, special.fs, special.gs) = (data, data, data, data, data);
    special.tr = kvm_segment {
        type_: 11,
        present: 1,
        ..Default::default()
    };
    special.ldt = kvm_segment {
        unusable: 1,
        ..Default::default()
    };
    special.gdt = kvm_dtable {
        base: GDT,
        limit: 23,
        ..Default::default()
    };
    special.idt = kvm_dtable::default();
    vcpu.set_sregs(&special)
        .map_err(|error| failure("KVM: ioctl (SET_SREGS) failed", error))?;

    let registers = kvm_regs {
        rip: entry,
        rsp: memory.end() - 8,
        rdi: argument,
        rflags: 2,
        ..Default::default()
    };
    vcpu.set_regs(&registers)
        .map_err(|error| failure("KVM: ioctl (SET_REGS) failed", error))
}

/// All memory one to one: the first 64 KiB not present, up to the image read-only, then in 2 MiB pages.
fn write_tables(memory: &mut GuestMemory) -> Option<()> {
    const PAGE: u64 = 0x1000;
    const LARGE_PAGE: u64 = 2 << 20;
    let end = memory.end();
    let mut put = |table: u64, index: u64, value: u64| {
        memory
            .write(table + 8 * index, &value.to_le_bytes())
            .then_some(())
    };
    put(GDT, 1, 0x00af_9900_0000_ffff)?;
    put(GDT, 2, 0x00cf_9300_0000_ffff)?;
    put(PML4, 0, PDPT | PRESENT | WRITABLE)?;
    for index in 0..4 {
        put(PDPT, index, (PD + PAGE * index) | PRESENT | WRITABLE)?;
    }
    put(PD, 0, PT0 | PRESENT | WRITABLE)?;
    for index in 1..end / LARGE_PAGE {
        put(PD, index, (LARGE_PAGE * index) | PRESENT | WRITABLE | LARGE)?;
    }
    for index in super::BOOT_INFO / PAGE..ENTRIES {
        let address = PAGE * index;
        put(
            PT0,
            index,
            address | PRESENT | if address < IMAGE_BASE { 0 } else { WRITABLE },
        )?;
    }
    Some(())
}

/// What an exit of the processor asks for.
pub enum Request {
    Hypercall {
        number: u64,
        argument: u64,
    },
    /// A port that is no hypercall's, or used otherwise than by a 32-bit `out`.
    BadPort(u16),
    /// An access to what is memory: the host's protection refused it.
    Memory,
    Other,
}

/// Decodes an exit. `memory_size` tells memory from nothing.
pub fn request(exit: VcpuExit, memory_size: u64) -> Request {
    match exit {
        VcpuExit::IoOut(port, &[a, b, c, d]) => match port.checked_sub(HYPERCALL_PORT) {
            Some(number) if u64::from(number) < HYPERCALLS => Request::Hypercall {
                number: u64::from(number),
                argument: u64::from(u32::from_le_bytes([a, b, c, d])),
            },
            _ => Request::BadPort(port),
        },
        VcpuExit::IoOut(port, _) | VcpuExit::IoIn(port, _) => Request::BadPort(port),
        VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _) if address < memory_size => {
            Request::Memory
        }
        VcpuExit::MemoryFault { .. } => Request::Memory,
        _ => Request::Other,
    }
}

/// Where the processor is, and what messages call that.
pub const PLACE: &str = "rip";

pub fn place(vcpu: &VcpuFd) -> u64 {
    vcpu.get_regs().map_or(0, |registers| registers.rip)
}

/// The request number of the call that [`place`] makes.
pub const PLACE_REQUEST: u64 = 0x8090_ae81; // KVM_GET_REGS
