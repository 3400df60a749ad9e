//! The machine: KVM opened and asked, one memory slot, one processor.

use crate::failure::{Failure, Result};
use crate::memory::GuestMemory;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use std::io;
use std::os::fd::{FromRawFd, RawFd};

/// The version that KVM has had since 2007.
const API_VERSION: i32 = 12;

/// A virtual machine with memory and one processor.
pub struct Machine {
    pub vm: VmFd,
    pub vcpu: VcpuFd,
}

/// Opens /dev/kvm, or takes a descriptor of it, and checks that it can do what is needed.
pub fn open(inherited: Option<RawFd>) -> Result<Kvm> {
    let kvm = match inherited {
        // SAFETY: open, and given to us for this alone.
        Some(fd) => unsafe { Kvm::from_raw_fd(fd) },
        None => Kvm::new().map_err(|error| failure("Could not open: /dev/kvm", error))?,
    };
    let version = kvm.get_api_version();
    if version != API_VERSION {
        return Err(Failure::new(format!(
            "KVM: API version {version} is not {API_VERSION}, so this is no KVM"
        )));
    }
    if !kvm.check_extension(Cap::UserMemory) {
        return Err(Failure::new("KVM: the host lacks KVM_CAP_USER_MEMORY"));
    }
    Ok(kvm)
}

impl Machine {
    /// A machine whose memory is all of `memory`, which must live as long.
    pub fn new(kvm: &Kvm, memory: &GuestMemory) -> Result<Machine> {
        Machine::prepared(kvm, memory, |_| Ok(()))
    }

    /// The same, with `prepare` done before it has a processor.
    pub fn prepared(
        kvm: &Kvm,
        memory: &GuestMemory,
        prepare: impl FnOnce(&VmFd) -> Result<()>,
    ) -> Result<Machine> {
        let vm = kvm
            .create_vm()
            .map_err(|error| failure("KVM: ioctl (CREATE_VM) failed", error))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: memory.end(),
            userspace_addr: memory.host_start() as u64,
        };
        // SAFETY: the range is the mapping of `memory`, which is never unmapped.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(|error| failure("KVM: ioctl (SET_USER_MEMORY_REGION) failed", error))?;
        prepare(&vm)?;
        let vcpu = vm
            .create_vcpu(0)
            .map_err(|error| failure("KVM: ioctl (CREATE_VCPU) failed", error))?;
        Ok(Machine { vm, vcpu })
    }
}

/// A failure of one of KVM's calls.
pub fn failure(what: &str, error: kvm_ioctls::Error) -> Failure {
    Failure::system(what, &io::Error::from_raw_os_error(error.errno()))
}
