//! The loop: run the processor, see why it stopped, answer or end.

use super::arch::{self, Request};
use super::calls::{Calls, Trouble};
use super::console::{Name, exit, fatal};
use kvm_ioctls::{VcpuExit, VcpuFd};
use std::convert::Infallible;

pub fn run(vcpu: &mut VcpuFd, calls: &mut Calls, program: &Name) -> crate::failure::Result<Infallible> {
    let memory_size = calls.memory_size();
    loop {
        let request = match vcpu.run() {
            Ok(VcpuExit::FailEntry(reason, _)) => fatal(
                program,
                format_args!("KVM: entry failure: hw_entry_failure_reason=0x{reason:x}"),
            ),
            Ok(VcpuExit::InternalError) => {
                // SAFETY: the exit's reason says that this member of the union was filled in.
                let suberror = unsafe { vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror };
                fatal(
                    program,
                    format_args!("KVM: internal error exit: suberror=0x{suberror:x}"),
                )
            }
            Ok(exit) => arch::request(exit, memory_size),
            Err(error) => match error.errno() {
                libc::EINTR | libc::EAGAIN => continue,
                libc::EFAULT => Request::Memory,
                number => fatal(program, format_args!("KVM: ioctl (RUN) failed: errno {number}")),
            },
        };
        match request {
            Request::Hypercall { number, argument } => match calls.call(number, argument) {
                Ok(()) => {}
                Err(Trouble::Halt(status)) => exit(status),
                Err(Trouble::Number) => fatal(program, format_args!("Invalid guest hypercall: num={number}")),
                Err(Trouble::Access { address, size }) => fatal(
                    program,
                    format_args!("hypercall {number}: Invalid guest access: gpa=0x{address:x}, sz={size}"),
                ),
                Err(Trouble::System { what, why }) => {
                    fatal(program, format_args!("Fatal error when {what}: {why}"))
                }
            },
            #[cfg(target_arch = "x86_64")]
            Request::BadPort(port) => fatal(
                program,
                format_args!("Invalid guest port access: port=0x{port:x}"),
            ),
            #[cfg(target_arch = "aarch64")]
            Request::BadAddress { address, length } => fatal(
                program,
                format_args!("Invalid guest mmio access: mmio=0x{address:x} len={length}"),
            ),
            Request::Memory => {
                let place = arch::place(vcpu);
                fatal(
                    program,
                    format_args!("KVM: host/guest translation fault: {}=0x{place:x}", arch::PLACE),
                )
            }
            Request::Other => {
                let (reason, place) = (vcpu.get_kvm_run().exit_reason, arch::place(vcpu));
                fatal(
                    program,
                    format_args!(
                        "KVM: unhandled exit: exit_reason=0x{reason:x}, {}=0x{place:x}",
                        arch::PLACE
                    ),
                )
            }
        }
    }
}
