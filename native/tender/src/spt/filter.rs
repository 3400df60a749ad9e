//! The system calls left to an `spt` guest. Anything else ends the process with SIGSYS.

use super::wait::Wait;
use crate::devices::Device;
use crate::failure::{Failure, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Qword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;
use std::os::fd::RawFd;

#[cfg(target_arch = "x86_64")]
const ARCH_SET_FS: u64 = 0x1002;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Builds the filter. Every argument is compared in full 64 bits.
pub fn program(devices: &[Device], wait: &Wait) -> Result<BpfProgram> {
    build(devices, wait)
        .map_err(|error| Failure::new(format!("Could not build the system call filter: {error}")))
}

/// Installs it, for good.
pub fn install(program: &BpfProgram) -> Result<()> {
    seccompiler::apply_filter(program)
        .map_err(|error| Failure::new(format!("Could not install the system call filter: {error}")))
}

fn build(devices: &[Device], wait: &Wait) -> std::result::Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = Rules::new();
    // Without conditions: every argument is good.
    rules.insert(libc::SYS_exit_group, vec![]);
    allow(&mut rules, libc::SYS_write, &[(0, SeccompCmpOp::Eq, 1)])?;
    allow(
        &mut rules,
        libc::SYS_epoll_pwait,
        &[(0, SeccompCmpOp::Eq, number(wait.epoll))],
    )?;
    allow(
        &mut rules,
        libc::SYS_timerfd_settime,
        &[(0, SeccompCmpOp::Eq, number(wait.timer))],
    )?;
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
        allow(
            &mut rules,
            libc::SYS_clock_gettime,
            &[(0, SeccompCmpOp::Eq, number(clock))],
        )?;
    }
    #[cfg(target_arch = "x86_64")]
    allow(
        &mut rules,
        libc::SYS_arch_prctl,
        &[(0, SeccompCmpOp::Eq, ARCH_SET_FS)],
    )?;
    for device in devices {
        match device {
            Device::Net(net) => {
                for call in [libc::SYS_read, libc::SYS_write] {
                    allow(&mut rules, call, &[(0, SeccompCmpOp::Eq, number(net.fd))])?;
                }
            }
            Device::Block(block) => {
                let size = u64::from(block.block_size);
                for call in [libc::SYS_pread64, libc::SYS_pwrite64] {
                    let whole_block_inside = [
                        (0, SeccompCmpOp::Eq, number(block.fd)),
                        (2, SeccompCmpOp::Eq, size),
                        (3, SeccompCmpOp::Le, block.capacity - size),
                    ];
                    allow(&mut rules, call, &whole_block_inside)?;
                }
            }
        }
    }
    // The process, not the thread: nothing of it may stay behind.
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

fn allow(
    rules: &mut Rules,
    call: i64,
    conditions: &[(u8, SeccompCmpOp, u64)],
) -> std::result::Result<(), seccompiler::BackendError> {
    let conditions = conditions
        .iter()
        .map(|(argument, is, value)| SeccompCondition::new(*argument, Qword, is.clone(), *value))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
    Ok(())
}

/// A non-negative int as the 64-bit argument that a guest passes.
fn number(value: RawFd) -> u64 {
    u64::from(value as u32)
}
