//! Every test guest under both ABIs, with the outcome that Solo5's own tests expect of its tenders.

mod support;

use support::{Kvm, abis, can, guest, run_guest};

#[test]
fn hello_gets_its_command_line() {
    for abi in abis("hvt") {
        run_guest(&["--mem=2"], "hello", abi, &["Hello_Solo5"]).expect(0, "SUCCESS");
        run_guest(&["--mem=2"], "hello", abi, &["Hello Solo5"]).expect(1, "Command line is: 'Hello Solo5'");
    }
}

#[test]
fn a_quiet_guest_says_only_what_it_has_to_say() {
    for abi in abis("hvt") {
        let outcome = run_guest(&["--"], "hello", abi, &["--solo5:quiet", "Hello_Solo5"]);
        outcome.expect(0, "SUCCESS");
        assert!(
            !outcome.stdout.contains("Solo5:") && outcome.stderr.is_empty(),
            "{outcome:#?}"
        );
    }
}

#[test]
fn output_longer_than_a_page_arrives_whole() {
    for abi in abis("hvt") {
        let outcome = run_guest(&[], "output", abi, &["--solo5:quiet"]);
        assert_eq!(outcome.stdout.len(), 8192, "{abi}");
        assert_eq!((outcome.status, outcome.stdout.as_bytes()[4095]), (0, 0));
    }
}

#[test]
fn data_is_loaded_and_what_follows_is_zero() {
    for abi in abis("hvt") {
        run_guest(&["--mem=2"], "globals", abi, &[]).expect(0, "SUCCESS");
    }
}

#[test]
fn thread_local_memory_works() {
    for abi in abis("hvt") {
        run_guest(&[], "tls", abi, &[]).expect(0, "SUCCESS");
    }
}

#[test]
fn clocks_and_sleep_work() {
    for abi in abis("hvt") {
        run_guest(&[], "time", abi, &[]).expect(0, "SUCCESS");
    }
}

#[test]
fn an_abort_ends_with_255() {
    for abi in abis("hvt") {
        run_guest(&[], "ssp", abi, &[]).expect(255, "ABORT: Stack corruption detected\0");
    }
}

#[test]
fn faults_are_the_guests_own_under_hvt_and_signals_under_spt() {
    for name in ["exception", "zeropage", "notls"] {
        run_guest(&[], name, "spt", &[]).expect(139, "");
        if can("hvt", Kvm::Tiny) {
            run_guest(&[], name, "hvt", &[])
                .expect(255, "Solo5: trap: type=#PF")
                .expect(255, "ABORT");
        }
    }
}

#[test]
fn code_and_constants_cannot_be_written() {
    for name in ["xnow", "rnow"] {
        run_guest(&[], name, "spt", &[]).expect(139, "");
        if can("hvt", Kvm::Tiny) {
            run_guest(&[], name, "hvt", &[])
                .expect(1, "")
                .says("KVM: host/guest translation fault: rip=0x");
        }
    }
}

#[test]
fn data_cannot_be_run_under_spt_unless_asked_for() {
    run_guest(&[], "wnox", "spt", &[]).expect(139, "");
    // The heap only: data keeps the protection that the executable asks for.
    run_guest(&["--x-exec-heap"], "wnox", "spt", &[])
        .expect(139, "")
        .says("WARNING: The use of --x-exec-heap");
}

#[test]
fn floating_point_works() {
    run_guest(&[], "fpu", "spt", &[]).expect(0, "SUCCESS");
    if can("fpu.hvt", Kvm::Linux) {
        run_guest(&[], "fpu", "hvt", &[]).expect(0, "SUCCESS");
    }
}

#[test]
fn exit_statuses_have_eight_bits() {
    for abi in abis("hvt") {
        for (asked, got) in [("0", 0), ("1", 1), ("300", 44), ("-1", 255)] {
            run_guest(&["--mem=2"], "exit", abi, &[asked]).expect(got, "");
        }
    }
}

#[test]
fn memory_is_what_was_asked_for() {
    run_guest(&["--mem=3"], "info", "spt", &[]).expect(0, "memory ends at 0x300000");
    run_guest(&["--mem=4096"], "info", "spt", &[]).expect(0, "memory ends at 0x100000000");
    if can("hvt", Kvm::Tiny) {
        let outcome = run_guest(&["--mem=3"], "info", "hvt", &[]);
        outcome
            .expect(0, "memory ends at 0x200000")
            .says("adjusting memory to 2097152 bytes");
        run_guest(&["--mem=4096"], "info", "hvt", &[]).expect(0, "memory ends at 0x100000000");
    }
    run_guest(&["--mem=1"], "info", "spt", &[]).expect(1, "");
    run_guest(&["--mem=100000000"], "info", "spt", &[])
        .expect(1, "")
        .says("Maximum guest memory size");
    run_guest(&["--mem=4098"], "info", "hvt", &[])
        .expect(1, "")
        .says("exceeds the max size 4294967296 bytes");
}

#[test]
fn a_guest_is_no_program_for_the_host() {
    for abi in support::ABIS {
        let error = std::process::Command::new(guest("hello", abi))
            .status()
            .expect_err("no interpreter");
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn forbidden_system_calls_end_an_spt_guest() {
    let calls = [
        ("dup", "32 1"),
        ("write to stderr", "1 2"),
        ("read from stdin", "0 0"),
        ("write with a descriptor beyond 32 bits", "1 4294967297"),
        ("mmap", "9"),
        ("mprotect", "10 1048576 4096 7"),
        ("rt_sigreturn", "15"),
        ("open", "2"),
        ("clone", "56"),
        ("fork", "57"),
        ("execve", "59"),
        ("kill", "62"),
        ("ptrace", "101"),
        ("exit of the thread", "60"),
        ("clock_gettime of another clock", "228 7"),
        ("arch_prctl of another register", "158 4097"),
        ("timerfd_settime of another descriptor", "286 1"),
        ("epoll_pwait of another descriptor", "281 1"),
        ("x32 write", "1073741825 1"),
        ("a call of tomorrow", "999"),
    ];
    for (name, arguments) in calls {
        let outcome = run_guest(&["--mem=2"], "seccomp", "spt", &[arguments]);
        assert_eq!(outcome.status, 128 + libc::SIGSYS, "{name}: {outcome:#?}");
    }
}
