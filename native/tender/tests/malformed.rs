//! Executables that break one rule each.

mod support;

use support::elf::{ABI_TARGET, Elf, MANIFEST, MANIFEST_NOTE, NOTES, valid};
use support::{TestFile, run};
use tripod_tender::elf::{Placement, Target, inspect};

const MEMORY: u64 = 2 << 20;

fn check(bytes: &[u8]) -> Result<Placement, String> {
    let image = inspect(bytes).map_err(|error| error.to_string())?;
    image.place(MEMORY).map_err(|error| error.to_string())
}

#[test]
fn the_unbroken_executable_is_accepted() {
    let bytes = valid().build();
    let image = inspect(&bytes[..]).expect("valid");
    assert_eq!(
        (image.target, image.entry, image.manifest.devices.len()),
        (Target::Spt, 0x10_0000, 1)
    );
    let placement = check(&bytes).expect("valid");
    assert_eq!((placement.segments.len(), placement.kernel_end), (2, 0x10_3000));
}

/// What a case is called, what it breaks, and a text that the message must hold.
type Case = (&'static str, Break, &'static str);
type Break = Box<dyn Fn(&mut Elf)>;

/// One case for each rule.
fn table() -> Vec<Case> {
    fn put(at: usize, value: &'static [u8]) -> Break {
        Box::new(move |elf| elf.put(at, value))
    }
    fn code(change: fn(&mut support::elf::Header)) -> Break {
        Box::new(move |elf| change(&mut elf.headers[0]))
    }
    fn data(change: fn(&mut support::elf::Header)) -> Break {
        Box::new(move |elf| change(&mut elf.headers[1]))
    }
    let first_entry = MANIFEST + 8;
    let device = first_entry + 104;
    vec![
        ("magic", put(0, b"\x7fELG"), "not an ELF file"),
        ("class", put(4, &[1]), "not a 64-bit ELF file"),
        ("byte order", put(5, &[2]), "not little-endian"),
        (
            "version of the identification",
            put(6, &[2]),
            "unknown ELF version",
        ),
        ("version", put(20, &[2]), "unknown ELF version"),
        ("position-independent", put(16, &[3]), "ET_EXEC"),
        ("machine", put(18, &[3, 0]), "another machine"),
        ("header size", put(52, &[63]), "ELF header size"),
        ("program header size", put(54, &[32]), "program header size"),
        ("no program headers", put(56, &[0, 0]), "0 program headers"),
        (
            "too many program headers",
            put(56, &[0xff, 0xff]),
            "65535 program headers",
        ),
        (
            "table beyond the file",
            put(32, &[0, 0x30]),
            "program header table lies beyond",
        ),
        (
            "table at the end of the world",
            put(32, &[0xff; 8]),
            "program header table lies beyond",
        ),
        (
            "entry below the image",
            put(24, &[0, 0, 0x0f, 0]),
            "entry point 0xf0000 is outside",
        ),
        (
            "entry at the end of memory",
            put(24, &[0, 0, 0x20, 0]),
            "entry point 0x200000 is outside",
        ),
        (
            "segment below the image",
            code(|code| code.address = 0xf_f000),
            "lies below 0x100000",
        ),
        (
            "aligned start below the image",
            code(|code| code.align = 0x20_0000),
            "lies below 0x100000",
        ),
        (
            "overlap",
            data(|data| data.address = 0x10_0800),
            "overlaps or precedes",
        ),
        (
            "descending",
            code(|code| code.address = 0x10_4000),
            "overlaps or precedes",
        ),
        ("alignment 0", code(|code| code.align = 0), "power of two"),
        ("alignment 3", code(|code| code.align = 3), "power of two"),
        (
            "alignment below a page",
            code(|code| code.align = 0x800),
            "is not aligned to pages",
        ),
        (
            "start beyond memory",
            data(|data| data.address = 0x20_0000),
            "does not fit",
        ),
        (
            "file size beyond memory",
            data(|data| (data.file_size, data.memory_size) = (1 << 21, 1 << 21)),
            "does not fit",
        ),
        (
            "memory size beyond memory",
            data(|data| data.memory_size = 0xf_f001),
            "does not fit",
        ),
        (
            "size that overflows",
            data(|data| data.memory_size = u64::MAX),
            "does not fit",
        ),
        (
            "address that overflows",
            data(|data| data.address = u64::MAX - 8),
            "does not fit",
        ),
        (
            "alignment that overflows",
            data(|data| data.align = 1 << 63),
            "lies below 0x100000",
        ),
        (
            "smaller in memory",
            code(|code| code.memory_size = 0x7ff),
            "smaller in memory",
        ),
        (
            "writable and executable",
            data(|data| data.flags = 3),
            "requests WRITE and EXEC permissions",
        ),
        (
            "no ABI note",
            put(NOTES + 8, b"ABI2"),
            "No Solo5 ABI information found in executable",
        ),
        (
            "another name",
            put(NOTES + 12, b"Solo6"),
            "No Solo5 ABI information found in executable",
        ),
        (
            "name of another size",
            put(NOTES, &[5]),
            "No Solo5 ABI information found in executable",
        ),
        (
            "note of 11 bytes",
            Box::new(|elf| elf.headers[3].file_size = 11),
            "shorter than a note's header",
        ),
        (
            "note of 19 bytes",
            Box::new(|elf| elf.headers[3].file_size = 19),
            "No Solo5 ABI information found",
        ),
        (
            "note beyond the file",
            Box::new(|elf| elf.headers[3].offset = 0x3000),
            "note lies beyond",
        ),
        (
            "note at the end of the world",
            Box::new(|elf| elf.headers[3].offset = u64::MAX - 19),
            "beyond the end",
        ),
        (
            "descriptor of 0",
            put(NOTES + 4, &[0]),
            "note does not fall within valid size",
        ),
        (
            "descriptor of 1",
            put(NOTES + 4, &[1]),
            "note does not fall within valid size",
        ),
        (
            "descriptor of 8",
            put(NOTES + 4, &[8]),
            "note does not fall within valid size",
        ),
        (
            "huge descriptor",
            put(NOTES + 4, &[0xff; 4]),
            "note does not fall within valid size",
        ),
        (
            "descriptor larger than its segment",
            Box::new(|elf| elf.headers[3].file_size = 35),
            "valid size",
        ),
        (
            "for virtio",
            put(ABI_TARGET, &[3]),
            "Executable is not for the solo5-hvt target, nor for the solo5-spt target",
        ),
        (
            "for nothing known",
            put(ABI_TARGET, &[9]),
            "it is for unknown target 9",
        ),
        (
            "of another version",
            put(ABI_TARGET + 4, &[3]),
            "Executable requests unsupported ABI version 3",
        ),
        (
            "no manifest",
            put(MANIFEST_NOTE + 8, b"MFT2"),
            "No Solo5 manifest found in executable",
        ),
        (
            "manifest too large",
            put(MANIFEST_NOTE + 4, &[0x0d, 0x1a]),
            "note does not fall within valid size",
        ),
        (
            "manifest cut short",
            put(MANIFEST_NOTE + 4, &[3]),
            "Solo5 manifest is invalid",
        ),
        (
            "manifest of another version",
            put(MANIFEST, &[2]),
            "Solo5 manifest is invalid",
        ),
        ("no entries", put(MANIFEST + 4, &[0]), "Solo5 manifest is invalid"),
        (
            "fewer entries than bytes",
            put(MANIFEST + 4, &[1]),
            "Solo5 manifest is invalid",
        ),
        (
            "more entries than bytes",
            put(MANIFEST + 4, &[3]),
            "Solo5 manifest is invalid",
        ),
        (
            "billions of entries",
            put(MANIFEST + 4, &[0xff; 4]),
            "Solo5 manifest is invalid",
        ),
        (
            "first entry not reserved",
            put(first_entry + 68, &[1, 0, 0, 0]),
            "Solo5 manifest is invalid",
        ),
        (
            "first entry with a name",
            put(first_entry, b"a"),
            "Solo5 manifest is invalid",
        ),
        (
            "device without a name",
            put(device, &[0]),
            "Solo5 manifest is invalid",
        ),
        (
            "name with an escape",
            put(device, b"\x1b[31m"),
            "Solo5 manifest is invalid",
        ),
        (
            "name without an end",
            put(device, &[b'a'; 68]),
            "Solo5 manifest is invalid",
        ),
        (
            "unknown type",
            put(device + 68, &[3]),
            "Solo5 manifest is invalid",
        ),
        (
            "reserved type again",
            put(device + 68, &[0, 0, 0, 0x40]),
            "Solo5 manifest is invalid",
        ),
        (
            "attached in the file",
            put(device + 96, &[1]),
            "Solo5 manifest is invalid",
        ),
    ]
}

#[test]
fn each_broken_rule_is_named() {
    for (name, break_it, text) in table() {
        let mut elf = valid();
        break_it(&mut elf);
        let said = check(&elf.build()).expect_err(name);
        assert!(said.contains(text), "{name}: {said}");
    }
}

#[test]
fn the_tender_says_it_and_ends_with_1() {
    let file = TestFile::new("malformed", 0);
    let prefix = format!("tripod-tender: {}: ", file.path());
    for (name, break_it, text) in table() {
        let mut elf = valid();
        break_it(&mut elf);
        std::fs::write(&file.0, elf.build()).expect("written");
        let pair = std::os::unix::net::UnixDatagram::pair().expect("a pair of sockets");
        let theirs = std::os::fd::OwnedFd::from(pair.0);
        let attach = format!("--net:service0=@{}", std::os::fd::AsRawFd::as_raw_fd(&theirs));
        let outcome = support::start(&["--mem=2", &attach, file.path()], &[&theirs]).end();
        outcome.expect(1, "").says(text);
        assert!(outcome.stderr.starts_with(&prefix), "{name}: {outcome:#?}");
    }
}

#[test]
fn a_file_cut_anywhere_in_its_headers_is_refused() {
    let bytes = valid().build();
    for length in (0..MANIFEST + 8 + 208).step_by(7) {
        assert!(check(&bytes[..length]).is_err(), "{length} bytes");
    }
    // A segment's bytes that are missing are noticed when they are loaded.
    let file = TestFile::holding("cut", &bytes[..0x1400]);
    let pair = std::os::unix::net::UnixDatagram::pair().expect("a pair of sockets");
    let theirs = std::os::fd::OwnedFd::from(pair.0);
    let attach = format!("--net:service0=@{}", std::os::fd::AsRawFd::as_raw_fd(&theirs));
    support::start(&[&attach, file.path()], &[&theirs])
        .end()
        .expect(1, "")
        .says("Could not read");
}

#[test]
fn what_is_no_file_is_refused() {
    run(&["/nonexistent"])
        .expect(1, "")
        .says("tripod-tender: /nonexistent: Could not open: No such file or directory");
    run(&["/"]).expect(1, "").says("Not a regular file");
    run(&["/dev/zero"]).expect(1, "").says("Not a regular file");
    run(&["@77"]).expect(1, "").says("File descriptor 77");
    run(&["@0"])
        .expect(1, "")
        .says("'@0' does not name a file descriptor above 2");
}
