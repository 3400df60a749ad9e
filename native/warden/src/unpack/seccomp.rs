//! The system calls that are left to `unpack`: reading the stream, making files, memory, and ending. Anything else kills the process.

use std::io::Error;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The lower half of the third argument, on a little-endian machine.
const THIRD_ARGUMENT: u32 = 32;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

const ALLOWED: &[libc::c_long] = &[
    // The stream and files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_fchdir,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
    libc::SYS_lsetxattr,
    // Memory and the end.
    libc::SYS_brk,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Allowed without PROT_EXEC in the third argument: nothing that came in the stream is ever run.
const ALLOWED_NOT_EXECUTABLE: [libc::c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];

/// Installs the filter for the calling thread, for good. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn install() -> Result<(), Error> {
    let mut program = program();
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which outlives the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const filter,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

fn program() -> Vec<libc::sock_filter> {
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equals = |value, skip| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, skip);
    let answer = |value| instruction(libc::BPF_RET | libc::BPF_K, value, 0, 0);
    // Numbers mean other calls under another architecture; x32's are above all of ours.
    let mut program = vec![
        load(ARCHITECTURE),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, AUDIT_ARCH, 1, 0),
    ];
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    program.push(load(NUMBER));
    for call in ALLOWED {
        program.extend([equals(*call as u32, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    for call in ALLOWED_NOT_EXECUTABLE {
        let is_executable = instruction(
            libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
            libc::PROT_EXEC as u32,
            0,
            1,
        );
        program.extend([equals(call as u32, 4), load(THIRD_ARGUMENT), is_executable]);
        program.extend([
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            answer(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    program.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    program
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a child under the filter ends: its exit status, or minus the signal that killed it.
    fn under_filter(act: fn()) -> i32 {
        // SAFETY: the child makes only async-signal-safe calls but for `program`, whose allocation no other thread of the
        // test can hold a lock of in musl's fork; it ends by _exit.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                if install().is_ok() {
                    act();
                }
                libc::_exit(3);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            if libc::WIFSIGNALED(status) {
                -libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            }
        }
    }

    fn map(protection: i32) {
        // SAFETY: an anonymous mapping at a place of the kernel's choice touches nothing that exists.
        unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                protection,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
    }

    /// A call whose arguments are all zero.
    fn call(number: libc::c_long) {
        // SAFETY: none of the calls that the test makes follows a null pointer.
        unsafe { libc::syscall(number, 0, 0, 0, 0, 0) };
    }

    #[test]
    fn what_is_not_on_the_list_kills() {
        let forbidden: [fn(); 5] = [
            || call(libc::SYS_socket),
            || call(libc::SYS_unshare),
            || call(libc::SYS_ptrace),
            || call(libc::SYS_mount),
            || map(libc::PROT_READ | libc::PROT_EXEC),
        ];
        for act in forbidden {
            assert_eq!(under_filter(act), -libc::SIGSYS);
        }
        assert_eq!(under_filter(|| map(libc::PROT_READ | libc::PROT_WRITE)), 3);
    }
}
