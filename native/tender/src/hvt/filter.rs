//! The system calls left to the tender while an `hvt` guest runs. Anything else ends the process with SIGSYS.

use super::arch;
use crate::devices::Device;
use crate::failure::{Failure, Result};
use kvm_ioctls::VcpuFd;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, RawFd};

const KVM_RUN: u64 = 0xae80;

/// Builds the filter: the processor's descriptor to run and to ask where it is, the devices' descriptors, the console,
/// the wall clock, sleeping, and the way out.
pub fn program(devices: &[Device], vcpu: &VcpuFd) -> Result<BpfProgram> {
    build(devices, vcpu.as_raw_fd())
        .map_err(|error| Failure::new(format!("Could not build the system call filter: {error}")))
}

/// Installs it, for good.
pub fn install(program: &BpfProgram) -> Result<()> {
    seccompiler::apply_filter(program)
        .map_err(|error| Failure::new(format!("Could not install the system call filter: {error}")))
}

fn build(devices: &[Device], vcpu: RawFd) -> std::result::Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::<i64, Vec<SeccompRule>>::new();
    let mut allow = |call: i64, arguments: &[(u8, u64)]| -> std::result::Result<(), BackendError> {
        let conditions = arguments
            .iter()
            // 32 bits: descriptors and ioctl requests are ints to the kernel.
            .map(|&(at, value)| SeccompCondition::new(at, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok(())
    };
    for request in [KVM_RUN, arch::PLACE_REQUEST] {
        allow(libc::SYS_ioctl, &[(0, number(vcpu)), (1, request)])?;
    }
    for stream in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        allow(libc::SYS_write, &[(0, number(stream))])?;
    }
    // Where the kernel's page for clocks cannot answer, this is asked.
    allow(libc::SYS_clock_gettime, &[(0, number(libc::CLOCK_REALTIME))])?;
    for device in devices {
        let calls = match device {
            Device::Net(_) => [libc::SYS_read, libc::SYS_write],
            Device::Block(_) => [libc::SYS_pread64, libc::SYS_pwrite64],
        };
        for call in calls {
            allow(call, &[(0, number(device.fd()))])?;
        }
    }
    // Without conditions: every argument is good.
    rules.insert(libc::SYS_ppoll, vec![]);
    rules.insert(libc::SYS_exit_group, vec![]);
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

/// A descriptor as the argument of a system call.
fn number(fd: RawFd) -> u64 {
    u64::from(fd as u32)
}
