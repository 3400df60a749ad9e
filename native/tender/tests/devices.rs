//! Block and network devices, by path and by descriptor.

mod support;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use support::frames::Peer;
use support::{TestFile, abis, guest, run_guest, start};

const MIB: u64 = 1 << 20;

#[test]
fn blocks_are_written_and_read_back() {
    for abi in abis("hvt") {
        for size in ["512", "4096", "32768"] {
            let file = TestFile::new(&format!("blk-{abi}-{size}"), 4 * MIB);
            let options = [
                format!("--block-sector-size:storage={size}"),
                format!("--block:storage={}", file.path()),
            ];
            let outcome = run_guest(&options.each_ref().map(String::as_str), "blk", abi, &[]);
            outcome.expect(0, &format!("4194304 bytes in blocks of {size}"));
            let bytes = std::fs::read(&file.0).expect("the file");
            assert_eq!(bytes.len() as u64, 4 * MIB);
            assert_eq!(bytes[..4], [0, 1, 2, 3]);
        }
    }
}

#[test]
fn a_block_device_can_be_a_descriptor_open_for_reading_and_writing() {
    for abi in abis("hvt") {
        let file = TestFile::new(&format!("blk-fd-{abi}"), MIB);
        let open = |write| {
            OwnedFd::from(
                std::fs::File::options()
                    .read(true)
                    .write(write)
                    .open(&file.0)
                    .expect("a file"),
            )
        };
        let (both, only_read) = (open(true), open(false));
        let run = |fd: &OwnedFd| {
            let option = format!("--block:storage=@{}", fd.as_raw_fd());
            start(
                &[option.as_str(), guest("blk", abi).to_str().expect("a path")],
                &[fd],
            )
            .end()
        };
        run(&both).expect(0, "SUCCESS");
        run(&only_read)
            .expect(1, "")
            .says("Could not open block device: @")
            .says("Permission denied");
    }
}

#[test]
fn block_devices_of_a_wrong_size_are_refused_in_solo5s_words() {
    let odd = TestFile::new("odd", 3 * 2048);
    let empty = TestFile::new("empty", 0);
    for abi in support::ABIS {
        let refuse = |file: &TestFile, size: &str, text: &str| {
            let options = [
                format!("--block:storage={}", file.path()),
                format!("--block-sector-size:storage={size}"),
            ];
            run_guest(&options.each_ref().map(String::as_str), "blk", abi, &[])
                .expect(1, "")
                .says(text);
        };
        refuse(
            &odd,
            "4096",
            "storage: Backing storage size must be block aligned (4096 bytes)",
        );
        refuse(
            &empty,
            "512",
            "storage: Backing storage must be at least 1 block (512 bytes) in size",
        );
        refuse(
            &odd,
            "521",
            "Block size must be a multiple of 2 greater than or equal 512",
        );
        refuse(
            &odd,
            "256",
            "Block size must be a multiple of 2 greater than or equal 512",
        );
        run_guest(&["--block:storage=/nonexistent"], "blk", abi, &[])
            .expect(1, "")
            .says("Could not open block device: /nonexistent: No such file or directory")
            .says("Invalid option: `--block:storage=/nonexistent'");
        run_guest(&["--block:storage=/dev/null"], "blk", abi, &[])
            .expect(1, "")
            .says("Not a file or block device");
    }
}

#[test]
fn sixty_three_devices_can_be_attached() {
    for abi in abis("hvt") {
        let files: Vec<TestFile> = (1..=63)
            .map(|index| TestFile::new(&format!("max-{abi}-{index}"), 512))
            .collect();
        let options: Vec<String> = files
            .iter()
            .enumerate()
            .map(|(index, file)| format!("--block:storage{}={}", index + 1, file.path()))
            .collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        run_guest(&options, "maxdevices", abi, &[]).expect(0, "SUCCESS");
        let last = std::fs::read(&files[62].0).expect("the file");
        assert_eq!(last[..9], *b"storage63");
        run_guest(&options[1..], "maxdevices", abi, &[])
            .expect(1, "")
            .says("Device 'storage1' of type BLOCK_BASIC declared but not attached.")
            .says("All declared devices must be attached. See --help for syntax.");
    }
}

/// A guest's end as a descriptor, and ours.
fn pair(guest: [u8; 4]) -> (OwnedFd, Peer) {
    let (theirs, ours) = UnixDatagram::pair().expect("a pair of sockets");
    (theirs.into(), Peer::new(ours, guest))
}

#[test]
fn pings_are_answered_through_an_inherited_descriptor() {
    for abi in abis("hvt") {
        let (theirs, mut peer) = pair([10, 0, 0, 2]);
        let options = [
            format!("--net:service0=@{}", theirs.as_raw_fd()),
            "--net-mac:service0=02:00:00:00:00:42".into(),
        ];
        let kernel = guest("net", abi);
        let running = start(
            &[
                &options[0],
                &options[1],
                kernel.to_str().expect("a path"),
                "limit=200",
            ],
            &[&theirs],
        );
        drop(theirs);
        assert_eq!(peer.resolve(), [2, 0, 0, 0, 0, 0x42]);
        peer.send(b"not a frame");
        for sequence in 0..200 {
            peer.ping(sequence, 1 + usize::from(sequence) * 7 % 1472);
        }
        running.end().expect(0, "mtu 1500").expect(0, "SUCCESS");
    }
}

#[test]
fn two_networks_are_told_apart() {
    for abi in abis("hvt") {
        let (first, mut peer) = pair([10, 0, 0, 2]);
        let (second, mut other) = pair([10, 1, 0, 2]);
        let options = [
            format!("--net:service0=@{}", first.as_raw_fd()),
            format!("--net:service1=@{}", second.as_raw_fd()),
        ];
        let kernel = guest("net_2if", abi);
        let running = start(
            &[
                &options[0],
                &options[1],
                kernel.to_str().expect("a path"),
                "limit=100",
            ],
            &[&first, &second],
        );
        assert_ne!(peer.resolve(), other.resolve());
        for sequence in 0..50 {
            peer.ping(sequence, 56);
            other.ping(sequence, 56);
        }
        running.end().expect(0, "50 and 50 echoes");
    }
}

#[test]
fn mtu_and_address_are_as_asked_for() {
    for abi in abis("hvt") {
        let run = |more: &[&str]| {
            let (theirs, _peer) = pair([10, 0, 0, 2]);
            let attach = format!("--net:service0=@{}", theirs.as_raw_fd());
            let kernel = guest("net_mtu", abi);
            // The order of a device's options is free.
            let args = [more, &[attach.as_str(), kernel.to_str().expect("a path")]].concat();
            start(&args, &[&theirs]).end()
        };
        run(&["--net-mtu:service0=9000"]).expect(0, "MTU is 9000\n");
        run(&["--net-mac:service0=02:00:5e:10:00:ff"]).expect(0, "MAC is 02:00:5e:10:00:ff\n");
        let outcomes = [run(&[]), run(&[])];
        outcomes[0].expect(0, "MTU is 1500\n");
        assert_ne!(outcomes[0].stdout, outcomes[1].stdout, "addresses are random");
        run(&["--net-mtu:service0=67"])
            .expect(1, "")
            .says("Malformed argument to --net-mtu");
        run(&["--net-mac:service0=02:00"])
            .expect(1, "")
            .says("Malformed argument to --net-mac");
    }
}

#[test]
fn what_is_no_network_is_refused() {
    let file = TestFile::new("no-net", 512);
    let fd = OwnedFd::from(std::fs::File::open(&file.0).expect("a file"));
    let (stream, _other) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    let stream = OwnedFd::from(stream);
    let tun = OwnedFd::from(std::fs::File::open("/dev/zero").expect("a device"));
    for abi in support::ABIS {
        let refuse = |value: &str, fds: &[&OwnedFd], text: &str| {
            let option = format!("--net:service0={value}");
            let kernel = guest("net_mtu", abi);
            let outcome = start(&[option.as_str(), kernel.to_str().expect("a path")], fds).end();
            outcome
                .expect(1, "")
                .says(text)
                .says("Invalid option: `--net:service0=");
        };
        refuse(
            &format!("@{}", fd.as_raw_fd()),
            &[&fd],
            "Neither a tap nor a socket",
        );
        refuse(
            &format!("@{}", stream.as_raw_fd()),
            &[&stream],
            "Not a datagram or seqpacket socket",
        );
        refuse(&format!("@{}", tun.as_raw_fd()), &[&tun], "Not an attached tap");
        refuse("@1", &[], "does not name a file descriptor above 2");
        refuse("@1000000", &[], "File descriptor 1000000: ");
        refuse(
            "nosuchtap",
            &[],
            "Could not attach interface: nosuchtap: No such device",
        );
        refuse(
            "aninterfacenametoolong",
            &[],
            "Could not attach interface: aninterfacenametoolong: ",
        );
    }
}
