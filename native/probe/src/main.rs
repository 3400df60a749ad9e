//! A hostile program to put in a monitor's place: it tries one thing that a compromised monitor would try and says how it went. The attempt is named by an
//! argument `attempt=NAME` anywhere in its command line (which has the guest's own words), or in the one file that tells Firecracker all. One line on stdout:
//! `refused ERRNO`, `ALLOWED …`, or a plain fact. A system call that the seccomp filter kills for says nothing: its exit status 159 (SIGSYS) is the answer.

use std::ffi::CString;
use std::io::{self, Write};

type Attempt = fn() -> Result<String, io::Error>;

const ATTEMPTS: &[(&str, Attempt)] = &[
    ("identity", identity),
    ("capabilities", capabilities),
    ("no-new-privs", no_new_privs),
    ("open-fds", open_fds),
    ("root-entries", root_entries),
    ("inet-socket", || socket(libc::AF_INET, libc::SOCK_STREAM)),
    ("packet-socket", || socket(libc::AF_PACKET, libc::SOCK_RAW)),
    ("netlink-socket", || socket(libc::AF_NETLINK, libc::SOCK_RAW)),
    ("unix-socket", || socket(libc::AF_UNIX, libc::SOCK_STREAM)),
    ("vsock-socket", || socket(libc::AF_VSOCK, libc::SOCK_STREAM)),
    ("ptrace-parent", ptrace_parent),
    ("read-parent-memory", read_parent_memory),
    ("kill-everything", kill_everything),
    ("mount-tmpfs", mount_tmpfs),
    ("umount-root", umount_root),
    ("open-shadow", || open("/etc/shadow")),
    ("open-proc", || open("/proc/1/environ")),
    ("open-kvm", || open("/dev/kvm")),
    ("make-tap", make_tap),
    ("open-memory", || open("/dev/mem")),
    ("climb-out", || open("/../../../../etc/hostname")),
    ("write-root", write_root),
    ("make-device", make_device),
    ("chroot", chroot),
    ("new-user-namespace", new_user_namespace),
    ("become-root", become_root),
    ("fork", fork),
    ("exec-shell", exec_shell),
    ("load-module", load_module),
    ("bpf", || raw(libc::SYS_bpf, [0, 0, 0])),
    ("perf", || raw(libc::SYS_perf_event_open, [0, 0, 0])),
    ("io-uring", || raw(libc::SYS_io_uring_setup, [1, 0, 0])),
    ("userfaultfd", || raw(libc::SYS_userfaultfd, [0, 0, 0])),
    ("keyring", || raw(libc::SYS_keyctl, [0, 0, 0])),
    ("reboot", || raw(libc::SYS_reboot, [0, 0, 0])),
    ("set-clock", set_clock),
    ("raise-limits", raise_limits),
];

/// The name in the word `attempt=NAME` of a text.
fn attempt_in(text: &str) -> Option<String> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c == '-' || c == '='))
        .find_map(|word| word.strip_prefix("attempt=").map(str::to_owned))
}

fn main() {
    // As a monitor is asked before it counts as one.
    if std::env::args().nth(1).is_some_and(|arg| arg == "--version") {
        let libc = if cfg!(target_env = "musl") {
            "musl"
        } else {
            "glibc"
        };
        println!("hostile-probe {}, {libc}", env!("CARGO_PKG_VERSION"));
        return;
    }
    let named = std::env::args()
        .find_map(|arg| attempt_in(&arg))
        .or_else(|| attempt_in(&std::fs::read_to_string("/config.json").ok()?));
    let Some(name) = named else {
        let names: Vec<&str> = ATTEMPTS.iter().map(|(name, _)| *name).collect();
        println!("{}", names.join("\n"));
        return;
    };
    say_ready();
    // Not an attempt: it stands still to be looked at from outside, without a call that a filter could refuse.
    if name == "stand-still" {
        loop {
            std::hint::spin_loop();
        }
    }
    let Some((_, attempt)) = ATTEMPTS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no attempt is called {name}");
        std::process::exit(2);
    };
    // Outside a sandbox these attempts would succeed, on the machine of whoever tried.
    if std::process::id() != 1 {
        eprintln!("hostile-probe runs only as the first process of a pid namespace of its own");
        std::process::exit(2);
    }
    match attempt() {
        Ok(how) => println!("{how}"),
        Err(error) => println!("refused {}", errno_name(&error)),
    }
    let _ = io::stdout().flush();
    // Ends at once and by the one call that every filter allows.
    // SAFETY: exit_group takes a status and does not return.
    unsafe { libc::_exit(0) };
}

fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EACCES) => "EACCES".into(),
        Some(libc::ENOENT) => "ENOENT".into(),
        Some(libc::EROFS) => "EROFS".into(),
        Some(libc::ESRCH) => "ESRCH".into(),
        Some(libc::ENOSYS) => "ENOSYS".into(),
        Some(libc::EINVAL) => "EINVAL".into(),
        Some(libc::ENOSPC) => "ENOSPC".into(),
        Some(other) => format!("errno {other}"),
        None => error.to_string(),
    }
}

fn outcome(result: libc::c_long) -> Result<String, io::Error> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok("ALLOWED".into())
    }
}

fn path(text: &str) -> CString {
    CString::new(text).expect("the paths here hold no NUL")
}

fn identity() -> Result<String, io::Error> {
    // SAFETY: these calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: a count of 0 asks for the number of groups and writes nothing.
    let groups = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    Ok(format!("uid {uid} gid {gid} groups {groups}"))
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

fn capabilities() -> Result<String, io::Error> {
    let mut header = CapHeader {
        version: 0x2008_0522,
        pid: 0,
    };
    let mut sets = [0u32; 6];
    // SAFETY: version 3 of the header goes with two elements of three words, which `sets` holds.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: PR_CAPBSET_READ takes the capability's number.
    let bounding = (0..41)
        .filter(|cap| unsafe { libc::prctl(libc::PR_CAPBSET_READ, *cap, 0, 0, 0) } == 1)
        .count();
    let effective = u64::from(sets[3]) << 32 | u64::from(sets[0]);
    let permitted = u64::from(sets[4]) << 32 | u64::from(sets[1]);
    Ok(format!(
        "effective {effective:x} permitted {permitted:x} bounding {bounding}"
    ))
}

fn no_new_privs() -> Result<String, io::Error> {
    // SAFETY: PR_GET_NO_NEW_PRIVS takes no pointer.
    Ok(format!("{}", unsafe {
        libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
    }))
}

fn open_fds() -> Result<String, io::Error> {
    // SAFETY: F_GETFD on any number is harmless.
    let open: Vec<String> = (0..256)
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0)
        .map(|fd| fd.to_string())
        .collect();
    Ok(open.join(" "))
}

fn root_entries() -> Result<String, io::Error> {
    let mut names: Vec<String> = std::fs::read_dir("/")?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(if names.is_empty() {
        "empty".into()
    } else {
        names.join(" ")
    })
}

fn socket(family: i32, kind: i32) -> Result<String, io::Error> {
    // SAFETY: socket takes three numbers.
    outcome(unsafe { libc::socket(family, kind, 0) }.into())
}

fn ptrace_parent() -> Result<String, io::Error> {
    // SAFETY: PTRACE_ATTACH takes a pid; the address and data are not used.
    let parent = unsafe { libc::getppid() };
    // In a pid namespace of our own the parent is not to be named at all: 0.
    let target = if parent == 0 { 2 } else { parent };
    // SAFETY: as above.
    outcome(unsafe { libc::ptrace(libc::PTRACE_ATTACH, target, 0, 0) })
}

fn read_parent_memory() -> Result<String, io::Error> {
    let mut byte = 0u8;
    let local = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let remote = libc::iovec {
        iov_base: 0x40_0000 as *mut _,
        iov_len: 1,
    };
    // SAFETY: the local vector points to one byte of ours; the remote address is the other process's.
    outcome(
        unsafe { libc::process_vm_readv(2, &raw const local, 1, &raw const remote, 1, 0) } as libc::c_long,
    )
}

fn kill_everything() -> Result<String, io::Error> {
    // SAFETY: signal 0 only asks whether anyone could be signalled.
    outcome(unsafe { libc::kill(-1, 0) }.into())
}

fn mount_tmpfs() -> Result<String, io::Error> {
    // SAFETY: all pointers are to NUL-terminated strings of ours or null.
    outcome(
        unsafe {
            libc::mount(
                path("none").as_ptr(),
                path("/").as_ptr(),
                path("tmpfs").as_ptr(),
                0,
                std::ptr::null(),
            )
        }
        .into(),
    )
}

fn umount_root() -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours.
    outcome(unsafe { libc::umount2(path("/").as_ptr(), libc::MNT_DETACH) }.into())
}

fn open(name: &str) -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours.
    outcome(unsafe { libc::open(path(name).as_ptr(), libc::O_RDONLY) }.into())
}

/// A network device of its own, beside the one that it was given.
fn make_tap() -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours.
    let tun = unsafe { libc::open(path("/dev/net/tun").as_ptr(), libc::O_RDWR) };
    outcome(tun.into())?;
    let mut request = [0u8; 40];
    request[..5].copy_from_slice(b"evil0");
    request[16..18].copy_from_slice(&((libc::IFF_TAP | libc::IFF_NO_PI) as u16).to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, for which `request` is large enough.
    outcome(unsafe { libc::ioctl(tun, libc::TUNSETIFF as libc::Ioctl, request.as_mut_ptr()) }.into())
}

fn write_root() -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours.
    outcome(
        unsafe {
            libc::open(
                path("/left-behind").as_ptr(),
                libc::O_CREAT | libc::O_WRONLY,
                0o600,
            )
        }
        .into(),
    )
}

fn make_device() -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours; device 1:1 is /dev/mem.
    outcome(unsafe { libc::mknod(path("/mem").as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 1)) }.into())
}

fn chroot() -> Result<String, io::Error> {
    // SAFETY: the path is a NUL-terminated string of ours.
    outcome(unsafe { libc::chroot(path("/").as_ptr()) }.into())
}

fn new_user_namespace() -> Result<String, io::Error> {
    // SAFETY: unshare takes flags.
    outcome(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())
}

fn become_root() -> Result<String, io::Error> {
    // SAFETY: setresuid takes three ids.
    outcome(unsafe { libc::setresuid(0, 0, 0) }.into())
}

fn fork() -> Result<String, io::Error> {
    // SAFETY: the child ends at once without touching anything.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    outcome(pid.into())
}

fn exec_shell() -> Result<String, io::Error> {
    let shell = path("/bin/sh");
    let argv = [shell.as_ptr(), std::ptr::null()];
    // SAFETY: both arrays end with null and hold NUL-terminated strings.
    outcome(unsafe { libc::execve(shell.as_ptr(), argv.as_ptr(), [std::ptr::null()].as_ptr()) }.into())
}

fn load_module() -> Result<String, io::Error> {
    raw(libc::SYS_finit_module, [0, 0, 0])
}

fn raw(number: libc::c_long, args: [libc::c_long; 3]) -> Result<String, io::Error> {
    // SAFETY: every call here is made with numbers or null pointers, which the kernel refuses if it reads them.
    outcome(unsafe { libc::syscall(number, args[0], args[1], args[2], 0, 0) })
}

fn set_clock() -> Result<String, io::Error> {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is ours.
    outcome(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) }.into())
}

fn raise_limits() -> Result<String, io::Error> {
    let limit = libc::rlimit {
        rlim_cur: 1 << 20,
        rlim_max: 1 << 20,
    };
    // SAFETY: the limit is ours.
    outcome(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into())
}

/// A monitor is told where to say that its guest begins: a tender by `--ready=@N`, and lets go of it; QEMU by a control channel, on which it answers.
fn say_ready() {
    let number =
        |prefix: &str| std::env::args().find_map(|arg| arg.strip_prefix(prefix)?.parse::<i32>().ok());
    // SAFETY: open, and given to us for this alone.
    let file = |fd| unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    if let Some(fd) = number("--ready=@") {
        let _ = file(fd).write_all(b"ready\n");
    }
    if let Some(fd) = number("socket,id=control,fd=") {
        let mut channel = file(fd);
        let _ = channel.write_all(b"{\"return\": {\"status\": \"running\", \"running\": true}}\n");
        // QEMU has it as long as it lives.
        std::mem::forget(channel);
    }
}
