//! Layers of any bytes: the reader and the checks of names neither crash, nor hang, nor hand out more than was there.
//! The warden is a program without a library, so its sources are taken in by path.

#![no_main]
#![allow(dead_code)]

#[path = "../../src/error.rs"]
mod error;

mod unpack;

use unpack::{arguments::Limits, name, reader::Reader};

const LIMITS: Limits = Limits {
    max_bytes: 1 << 20,
    max_entries: 1000,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut tar = bytes.to_vec();
    repair_checksums(&mut tar);
    let mut reader = Reader::new(tar.as_slice(), LIMITS);
    while let Ok(Some(entry)) = reader.next() {
        let mut read = 0;
        let outcome = reader.content(|piece| {
            read += piece.len() as u64;
            Ok(())
        });
        assert!(outcome.is_err() || read == entry.size);
        for name in [&entry.name, &entry.link] {
            let Ok(path) = name::clean(name) else { continue };
            let is_beneath = |part: &[u8]| part != b".." && part != b"." && !part.is_empty();
            assert!(path.is_empty() || path.split(|byte| *byte == b'/').all(is_beneath));
            let _ = name::meaning(&path);
        }
    }
    assert!(reader.entries <= LIMITS.max_entries + 1);
});

/// A fuzzer would spend its life guessing sums.
fn repair_checksums(tar: &mut [u8]) {
    for block in tar
        .chunks_exact_mut(512)
        .filter(|block| &block[257..262] == b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
