//! Any bytes as an executable: no panic, no endless work, and nothing accepted that breaks a rule of placement.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tripod_tender::elf::inspect;

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = inspect(bytes) else { return };
    for memory_size in [2 << 20, 512 << 20, u64::MAX & !0xfff] {
        let Ok(placement) = image.place(memory_size) else {
            continue;
        };
        assert!((0x10_0000..memory_size).contains(&placement.entry));
        let mut end = 0x10_0000;
        for segment in &placement.segments {
            assert!(segment.start >= end && segment.start < segment.end && segment.end <= memory_size);
            assert!(segment.address >= segment.start && segment.address + segment.file_size <= segment.end);
            assert!(!(segment.writable && segment.executable));
            end = segment.end;
        }
    }
});
