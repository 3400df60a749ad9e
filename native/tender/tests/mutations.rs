//! Thousands of executables broken at random: the parser neither panics nor accepts what breaks a rule.

mod support;

use support::elf::{HEADERS, MANIFEST, valid};
use tripod_tender::elf::{Placement, inspect};

const MEMORY: u64 = 2 << 20;

/// A generator of numbers that is the same on every run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[test]
fn nothing_that_is_accepted_breaks_a_rule() {
    const INTERESTING: [u64; 12] = [
        0,
        1,
        7,
        12,
        20,
        0xfff,
        0x1000,
        0x10_0000,
        0x20_0000,
        1 << 32,
        i64::MAX as u64,
        u64::MAX,
    ];
    let original = valid().build();
    let headers = HEADERS..HEADERS + 5 * 56;
    let mut numbers = Numbers(0x5eed);
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut bytes = original.clone();
        for _ in 0..1 + numbers.below(3) {
            // Half of the changes go to fields of the program headers, where the arithmetic is.
            if numbers.below(2) == 0 {
                let at = headers.start + 8 * numbers.below(headers.len() / 8);
                let value = INTERESTING[numbers.below(INTERESTING.len())]
                    .wrapping_add(numbers.next() % 3)
                    .wrapping_sub(1);
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            } else {
                let at = numbers.below(MANIFEST + 8 + 208);
                bytes[at] = numbers.next() as u8;
            }
        }
        let Ok(image) = inspect(&bytes[..]) else {
            continue;
        };
        if let Ok(placement) = image.place(MEMORY) {
            accepted += 1;
            sound(&placement);
        }
    }
    // Otherwise the test would not have tested anything.
    assert!((1_000..49_000).contains(&accepted), "{accepted} accepted");
}

fn sound(placement: &Placement) {
    assert!((0x10_0000..MEMORY).contains(&placement.entry));
    let mut end = 0x10_0000;
    for segment in &placement.segments {
        assert!(segment.start >= end && segment.end <= MEMORY && segment.start < segment.end);
        assert!(segment.start % 0x1000 == 0 && segment.end % 0x1000 == 0);
        assert!(segment.address >= segment.start && segment.address + segment.file_size <= segment.end);
        assert!(!(segment.writable && segment.executable) && segment.file_size > 0);
        end = segment.end;
    }
    assert!(placement.segments.is_empty() || placement.kernel_end == end);
}
