//! Where a kernel's devices are; on x86-64 the monitor says it on the command line.

use core::str;

/// The places beyond are not mapped: 4 GiB less the last page.
const END: usize = 0xffff_f000;

/// A device's registers and interrupt line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    pub base: usize,
    pub line: u32,
}

/// The virtio devices that the command line names by `virtio_mmio.device=4K@0xc0001000:5`, in its order. Words that are malformed are left out.
pub fn virtio_places(line: &[u8]) -> impl Iterator<Item = Place> {
    line.split(u8::is_ascii_whitespace).filter_map(|word| {
        let value = str::from_utf8(word).ok()?.strip_prefix("virtio_mmio.device=")?;
        let (_, place) = value.split_once('@')?;
        let mut parts = place.split(':');
        let (base, line) = (parts.next()?, parts.next()?.parse().ok()?);
        let hex = base
            .strip_prefix("0x")
            .map(|digits| usize::from_str_radix(digits, 16));
        let base = hex.unwrap_or_else(|| base.parse()).ok()?;
        (base % 4 == 0 && base < END).then_some(Place { base, line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_qemu_and_firecracker_are_read() {
        let line = b"ip=10.0.0.2/24 virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xc0001000:5 virtio_mmio.device=1K@4096:7:3";
        let expected =
            [(0xfeb0_0e00, 12), (0xc000_1000, 5), (4096, 7)].map(|(base, line)| Place { base, line });
        assert!(virtio_places(line).eq(expected));
    }

    #[test]
    fn what_is_malformed_or_beyond_the_mapped_memory_is_left_out() {
        for value in [
            "",
            "@",
            "4K@0xc0001000",
            "4K@0xc0001000:",
            "4K@:5",
            "4K@0x:5",
            "4K@0xg:5",
            "4K@-4:5",
            "4K@0xc0001001:5",
            "4K@0xfffff000:5",
            "4K@0x1ffffffffffffffff:5",
            "4K@4096:-1",
            "4K@4096:99999999999",
        ] {
            let line = ["virtio_mmio.device=", value].concat();
            assert_eq!(virtio_places(line.as_bytes()).next(), None, "{value}");
        }
    }
}
