//! The tender as a process: its command line, how signals end it, and what it costs.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use support::{Kvm, abis, can, guest, kvm, run, run_guest, start};

#[test]
fn usage_is_an_error_and_the_version_is_not() {
    run(&["--help"])
        .expect(1, "")
        .says("usage: tripod-tender")
        .says("--net:NAME=IFACE");
    run(&["--version", "--help"])
        .expect(0, "")
        .says("tripod-tender tender, version v")
        .says("ABI version 2");
    run::<&str>(&[])
        .expect(1, "")
        .says("tripod-tender: Missing KERNEL operand")
        .says("usage:");
    run(&["--mem=2"]).expect(1, "").says("Missing KERNEL operand");
}

#[test]
fn options_are_refused_after_the_kernel_has_been_read() {
    run(&["--nope", "/nonexistent"])
        .expect(1, "")
        .says("/nonexistent: Could not open");
    for abi in support::ABIS {
        run_guest(&["--nope"], "hello", abi, &[])
            .expect(1, "")
            .says("Invalid option: `--nope'")
            .says("usage:");
        run_guest(&["--mem=0"], "hello", abi, &[])
            .expect(1, "")
            .says("tripod-tender: Malformed argument to --mem");
        run_guest(&["--gdb"], "hello", abi, &[])
            .expect(1, "")
            .says("Invalid option: `--gdb'");
        run_guest(&["--net:x=y"], "hello", abi, &[])
            .expect(1, "")
            .says("Resource not declared in manifest: 'x'");
        run_guest(&[], "net", abi, &[])
            .expect(1, "")
            .says("Device 'service0' of type NET_BASIC declared but not attached.");
        run_guest(&[], "hello", abi, &[&"x".repeat(8192)])
            .expect(1, "")
            .says("Guest command line too long (max=8191");
    }
}

#[test]
fn the_kernel_can_be_a_descriptor() {
    for abi in abis("hvt") {
        let file = OwnedFd::from(std::fs::File::open(guest("hello", abi)).expect("a guest"));
        let kernel = format!("@{}", file.as_raw_fd());
        start(&["--mem=2", &kernel, "Hello_Solo5"], &[&file])
            .end()
            .expect(0, "SUCCESS");
    }
}

#[test]
fn kvm_can_be_a_descriptor() {
    let hello = guest("hello", "hvt");
    let hello = hello.to_str().expect("a path");
    let null = OwnedFd::from(std::fs::File::open("/dev/null").expect("a device"));
    let option = format!("--kvm=@{}", null.as_raw_fd());
    start(&[&option, hello], &[&null])
        .end()
        .expect(1, "")
        .says("so this is no KVM");
    start(&["probe-kvm", &option], &[&null])
        .end()
        .expect(0, r#"{"kvm":"none","evidence":"KVM: API version"#);
    if can("hvt", Kvm::Tiny) {
        let kvm = OwnedFd::from(
            std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .expect("KVM"),
        );
        let option = format!("--kvm=@{}", kvm.as_raw_fd());
        start(&[&option, hello, "Hello_Solo5"], &[&kvm])
            .end()
            .expect(0, "SUCCESS");
    }
}

#[test]
fn signals_end_a_guest_with_128_and_their_number() {
    for abi in abis("hvt") {
        for manner in ["sleep", "spin"] {
            for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
                let kernel = guest("forever", abi);
                let running = start(&[kernel.to_str().expect("a path"), manner], &[]);
                // Until it runs, which is when the handlers are there.
                std::thread::sleep(Duration::from_millis(150));
                running.signal(signal);
                running.end().expect(status, "ready");
            }
        }
    }
}

#[test]
fn sigterm_ends_a_guest_that_is_process_1_of_its_namespace() {
    for abi in abis("hvt") {
        let kernel = guest("forever", abi);
        let script = format!(
            "unshare --pid --fork --kill-child sh -c 'exec {} {} spin' & sleep 0.4; \
             for child in $(cat /proc/$!/task/$!/children); do kill -TERM $child; done; wait $!",
            support::tender().display(),
            kernel.display()
        );
        let status = std::process::Command::new("timeout")
            .args(["20", "sh", "-c", &script])
            .output()
            .expect("sh");
        if String::from_utf8_lossy(&status.stderr).contains("Operation not permitted") {
            return support::skip("pid-namespace", "root", "unshare is not permitted");
        }
        assert_eq!(status.status.code(), Some(143), "{abi}: {status:#?}");
    }
}

#[test]
fn the_probe_answers_in_one_line_of_json() {
    let (kvm, said) = kvm();
    assert!(
        said.starts_with(r#"{"kvm":""#) && said.ends_with(r#"."}"#) && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(
        kvm == Kvm::None,
        run_guest(&["--mem=2"], "hello", "hvt", &["Hello_Solo5"]).status != 0,
        "{said}"
    );
    run(&["probe-kvm", "--nope"])
        .expect(1, "")
        .says("Invalid option: `--nope'");
}

/// Proportional memory in KiB of a running tender, without the guest's own.
fn own_memory(id: i32, guest_memory: u64) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{id}/smaps")).expect("smaps");
    let (mut total, mut counts) = (0, false);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            let (start, end) = (number(start), number(end));
            // The guest's memory: at low addresses under spt, one mapping or a few that add up to it under hvt.
            counts = start >= guest_memory && end - start < guest_memory / 4;
        } else if counts && first == "Pss:" {
            total += words
                .next()
                .and_then(|size| size.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    total
}

#[test]
fn the_tender_itself_takes_little_memory() {
    for abi in abis("hvt") {
        let kernel = guest("forever", abi);
        let running = start(&["--mem=64", kernel.to_str().expect("a path")], &[]);
        std::thread::sleep(Duration::from_millis(200));
        let kib = own_memory(running.id(), 64 << 20);
        // The promise is 512 KiB for the static program; the one that cargo tests is larger and linked dynamically.
        let promise = if std::env::var_os("TRIPOD_TENDER").is_some() {
            512
        } else {
            4096
        };
        assert!((1..=promise).contains(&kib), "{abi}: {kib} KiB");
        running.signal(libc::SIGTERM);
        running.end().expect(143, "ready");
    }
}
