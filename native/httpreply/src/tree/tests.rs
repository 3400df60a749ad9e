use super::*;

/// Writes trees as the specification has them.
#[derive(Default)]
struct Writer {
    structure: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn words(&mut self, words: &[u32]) -> &mut Self {
        self.structure
            .extend(words.iter().flat_map(|word| word.to_be_bytes()));
        self
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.structure.extend_from_slice(bytes);
        self.structure.resize(self.structure.len().next_multiple_of(4), 0);
        self
    }

    fn begin(&mut self, name: &str) -> &mut Self {
        self.words(&[BEGIN_NODE]).padded(format!("{name}\0").as_bytes())
    }

    fn end(&mut self) -> &mut Self {
        self.words(&[END_NODE])
    }

    fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(format!("{name}\0").as_bytes());
        self.words(&[PROPERTY, value.len() as u32, at]).padded(value)
    }

    fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.bytes(name, format!("{value}\0").as_bytes())
    }

    fn cells(&mut self, name: &str, value: &[u32]) -> &mut Self {
        let bytes: Vec<u8> = value.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.bytes(name, &bytes)
    }

    fn blob(&self) -> Vec<u8> {
        let (structure, strings) = (self.structure.len() as u32, self.strings.len() as u32);
        let header = [
            MAGIC,
            40 + structure + strings,
            40,
            40 + structure,
            40,
            17,
            16,
            0,
            strings,
            structure,
        ];
        let header = header.iter().flat_map(|word| word.to_be_bytes()).collect();
        [header, self.structure.clone(), self.strings.clone()].concat()
    }
}

/// The parts of QEMU's virt machine that matter here, and some that do not.
fn virt() -> Vec<u8> {
    let mut tree = Writer::default();
    tree.begin("")
        .cells("#size-cells", &[2])
        .cells("#address-cells", &[2])
        .text("compatible", "linux,dummy-virt")
        .begin("psci")
        .text("method", "smc")
        .bytes("compatible", b"arm,psci-1.0\0arm,psci\0")
        .end()
        .begin("memory@40000000")
        .cells("reg", &[0, 0x4000_0000, 0, 0x200_0000, 1, 0, 0, 0x1000])
        .text("device_type", "memory")
        .end()
        .begin("pcie@10000000")
        .cells("#address-cells", &[3])
        .begin("device")
        .cells("reg", &[1, 2, 3, 4, 5])
        .end()
        .end()
        .words(&[NOP])
        .begin("pl011@9040000")
        .text("status", "disabled")
        .cells("reg", &[0, 0x904_0000, 0, 0x1000])
        .bytes("compatible", b"arm,pl011\0arm,primecell\0")
        .end()
        .begin("pl011@9000000")
        .cells("reg", &[0, 0x900_0000, 0, 0x1000])
        .bytes("compatible", b"arm,pl011\0arm,primecell\0")
        .end()
        .begin("intc@8000000")
        .cells("reg", &[0, 0x800_0000, 0, 0x1_0000, 0, 0x801_0000, 0, 0x1_0000])
        .text("compatible", "arm,cortex-a15-gic")
        .begin("v2m@8020000")
        .cells("reg", &[0, 0x802_0000, 0, 0x1000])
        .end()
        .end();
    for (base, line) in [(0xa00_0000, 16), (0xa00_0200, 17)] {
        tree.begin("virtio_mmio")
            .bytes("dma-coherent", b"")
            .words(&[NOP])
            .cells("interrupts", &[0, line, 1])
            .cells("reg", &[0, base, 0, 0x200])
            .text("compatible", "virtio,mmio")
            .end();
    }
    tree.begin("chosen")
        .text("bootargs", "ip=10.0.0.2/24 port=80")
        .end()
        .end()
        .words(&[9]);
    tree.blob()
}

fn board(blob: &[u8]) -> Board<'_> {
    let mut board = Board::new();
    board.read(blob);
    board
}

#[test]
fn a_machine_is_read() {
    let blob = virt();
    let board = board(&blob);
    assert_eq!(board.boot_line, b"ip=10.0.0.2/24 port=80");
    assert_eq!(board.console, Some(0x900_0000));
    let controller = Controller::V2 {
        distributor: 0x800_0000,
        processor: 0x801_0000,
    };
    assert_eq!(board.controller, Some(controller));
    assert_eq!(board.conduit, Conduit::SecureMonitor);
    let places = [(0xa00_0000, 48), (0xa00_0200, 49)].map(|(base, line)| Place { base, line });
    assert!(board.virtio().eq(places));
}

#[test]
fn memory_is_where_the_tree_says() {
    let blob = virt();
    let board = board(&blob);
    assert!(board.has_memory(0x4020_0000, 0x4200_0000));
    assert!(!board.has_memory(0x4020_0000, 0x4200_0001));
    assert!(board.has_memory(1 << 32, (1 << 32) + 0x1000));
    assert!(!board.has_memory(0x3fff_ffff, 0x4000_1000));
    assert!(Board::new().has_memory(0, u64::MAX));
}

#[test]
fn version_3_of_the_interrupt_controller_is_known() {
    let mut tree = Writer::default();
    tree.begin("")
        .cells("#address-cells", &[1])
        .cells("#size-cells", &[1])
        .begin("intc")
        .text("compatible", "arm,gic-v3")
        .cells("reg", &[0x800_0000, 0x1_0000, 0x80a_0000, 0xf6_0000])
        .end()
        .end()
        .words(&[9]);
    let controller = Controller::V3 {
        distributor: 0x800_0000,
        redistributor: 0x80a_0000,
    };
    assert_eq!(board(&tree.blob()).controller, Some(controller));
}

#[test]
fn more_than_there_is_room_for_is_left_out() {
    let mut tree = Writer::default();
    tree.begin("").cells("#size-cells", &[0]);
    for at in 0..100 {
        tree.begin("memory")
            .text("device_type", "memory")
            .cells("reg", &[0, at])
            .end();
        tree.begin("virtio")
            .text("compatible", "virtio,mmio")
            .cells("reg", &[0, 4 * at])
            .cells("interrupts", &[0, at, 1])
            .end();
    }
    tree.end().words(&[9]);
    let blob = tree.blob();
    let board = board(&blob);
    assert_eq!(board.virtio().count(), MOST_PLACES);
    assert_eq!(board.ranges, MOST_RANGES);
}

#[test]
fn a_node_without_cells_has_no_end_of_ranges_and_is_read_all_the_same() {
    let mut tree = Writer::default();
    tree.begin("")
        .cells("#address-cells", &[0])
        .cells("#size-cells", &[0])
        .begin("memory")
        .text("device_type", "memory")
        .end()
        .end()
        .words(&[9]);
    assert!(!board(&tree.blob()).has_memory(1, 2));
}

#[test]
fn levels_without_end_are_not_followed() {
    let mut tree = Writer::default();
    for _ in 0..1000 {
        tree.begin("a");
    }
    let blob = tree.blob();
    assert_eq!(Nodes::of(&blob).into_iter().flatten().count(), MOST_LEVELS - 1);
}

#[test]
fn what_is_no_tree_says_nothing() {
    for blob in [&b""[..], b"\xd0\x0d\xfe\xed", &[0; 64], &[0xff; 64]] {
        let board = board(blob);
        assert_eq!((board.boot_line, board.controller), (&b""[..], None));
    }
}

#[test]
fn a_tree_that_is_cut_short_or_changed_in_a_byte_is_read_to_an_end() {
    let whole = virt();
    for length in 0..whole.len() {
        board(&whole[..length]);
        // Its header says that it is whole, and it is not.
        let mut cut = whole.clone();
        cut[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        board(&cut);
    }
    for at in 0..whole.len() {
        for value in [0, 1, 3, 9, 0x7f, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] = value;
            let board = board(&changed);
            assert!(
                board
                    .virtio()
                    .all(|place| place.base % 4 == 0 && place.line >= 32)
            );
        }
    }
}
