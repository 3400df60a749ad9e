//! Hypercalls that a hostile guest makes: each ends the guest with a sentence, or is refused softly as Solo5 does.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use support::{Kvm, Outcome, TestFile, can, guest, start};

fn call(which: &str) -> Outcome {
    let file = TestFile::new(&format!("calls-{which}"), 4096);
    let (theirs, ours) = UnixDatagram::pair().expect("a pair of sockets");
    ours.send(b"a frame to read").expect("sent");
    let theirs = OwnedFd::from(theirs);
    let options = [
        format!("--block:storage={}", file.path()),
        format!("--net:service0=@{}", theirs.as_raw_fd()),
    ];
    let kernel = guest("calls", "hvt");
    start(
        &[
            "--mem=2",
            &options[0],
            &options[1],
            kernel.to_str().expect("a path"),
            which,
        ],
        &[&theirs],
    )
    .end()
}

#[test]
fn what_is_no_hypercall_ends_the_guest() {
    if !can("hvt", Kvm::Tiny) {
        return;
    }
    for (which, text) in [
        ("number-0", "Invalid guest hypercall: num=0"),
        ("port", "Invalid guest port access: port=0x600"),
        ("port-size", "Invalid guest port access: port=0x502"),
        ("port-in", "Invalid guest port access: port=0x502"),
        ("hlt", "KVM: unhandled exit: exit_reason=0x5, rip=0x"),
        ("triple-fault", "KVM: unhandled exit: exit_reason=0x8, rip=0x"),
    ] {
        call(which).expect(1, "").says(text);
    }
}

#[test]
fn addresses_that_are_not_the_guests_to_name_end_it() {
    if !can("hvt", Kvm::Tiny) {
        return;
    }
    for (which, text) in [
        ("struct-beyond", "Invalid guest access: gpa=0x200000, sz=16"),
        // Solo5's rule is strict: the last byte of memory is no part of a buffer.
        ("struct-at-end", "Invalid guest access: gpa=0x1ffff0, sz=16"),
        ("struct-low", "Invalid guest access: gpa=0x10000, sz=16"),
        ("struct-read-only", "Invalid guest access: gpa=0x"),
        ("buffer-beyond", "Invalid guest access: gpa=0x1ffff8, sz=16"),
        ("buffer-at-end", "Invalid guest access: gpa=0x1ffff8, sz=8"),
        ("buffer-overflow", "sz=18446744073709551615"),
        ("buffer-low", "Invalid guest access: gpa=0x2000, sz=8"),
        ("block-low", "Invalid guest access: gpa=0x2000, sz=512"),
        (
            "block-read-only",
            "Fatal error when reading from a block device: Bad address",
        ),
        ("net-read-low", "Invalid guest access: gpa=0x2000, sz=2048"),
        ("cookie-beyond", "Invalid guest access: gpa=0x1ffff8, sz=512"),
    ] {
        call(which).expect(1, "").says(text);
    }
}

#[test]
fn wrong_handles_and_offsets_are_answered_with_einval() {
    if can("hvt", Kvm::Tiny) {
        call("refused-softly").expect(0, "SUCCESS");
    }
}
