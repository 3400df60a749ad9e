//! Any bytes as a device tree: no panic, no endless work, and no place that is none.

#![no_main]

use httpreply::tree::Board;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // With a right magic number and length the rest is reached.
    let mut bytes = bytes.to_vec();
    let length = bytes.len() as u32;
    if let Some(head) = bytes.first_chunk_mut::<8>() {
        *head = (0xd00d_feed_u64 << 32 | u64::from(length)).to_be_bytes();
    }
    let mut board = Board::new();
    board.read(&bytes);
    assert!(board.boot_line.len() <= bytes.len());
    assert!(
        board
            .virtio()
            .all(|place| place.base % 4 == 0 && place.line >= 32)
    );
    board.has_memory(0x4000_0000, 0x4010_0000);
});
