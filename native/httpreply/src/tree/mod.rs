//! The flattened device tree, in which firmware and monitors describe an arm64 machine (Devicetree Specification 0.4,
//! chapter 5), as far as a kernel with one network device wants to know. What is malformed ends the reading; what was read
//! until then holds.

use core::ffi::CStr;

use crate::places::Place;

/// The largest tree that Linux's boot protocol allows.
pub const MOST_BYTES: usize = 2 << 20;

const MAGIC: u32 = 0xd00d_feed;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
/// More levels than any tree has.
const MOST_LEVELS: usize = 16;
const MOST_RANGES: usize = 8;
const MOST_PLACES: usize = 32;
/// A PCI bus has addresses of three cells.
const MOST_CELLS: u32 = 4;
/// Interrupts below are a processor's own.
const FIRST_SHARED: u32 = 32;

/// What wakes the processor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Controller {
    /// GICv2: addresses of its two parts.
    V2 { distributor: usize, processor: usize },
    /// GICv3, of which the first processor's redistributor is the first.
    V3 {
        distributor: usize,
        redistributor: usize,
    },
}

/// By which instruction PSCI is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conduit {
    Hypervisor,
    SecureMonitor,
}

/// A machine, as its tree describes it.
pub struct Board<'a> {
    /// Of `/chosen`.
    pub boot_line: &'a [u8],
    /// Address of the first PL011.
    pub console: Option<usize>,
    pub controller: Option<Controller>,
    pub conduit: Conduit,
    memory: [(u64, u64); MOST_RANGES],
    ranges: usize,
    places: [Place; MOST_PLACES],
    count: usize,
}

impl<'a> Board<'a> {
    /// A machine of which nothing is known.
    pub const fn new() -> Self {
        Self {
            boot_line: b"",
            console: None,
            controller: None,
            conduit: Conduit::Hypervisor,
            memory: [(0, 0); MOST_RANGES],
            ranges: 0,
            places: [Place { base: 0, line: 0 }; MOST_PLACES],
            count: 0,
        }
    }

    /// Adds what a tree says.
    pub fn read(&mut self, blob: &'a [u8]) {
        for node in Nodes::of(blob).into_iter().flatten() {
            self.add(&node);
        }
    }

    /// Whether all of a range is memory; a machine that names none is believed.
    pub fn has_memory(&self, start: u64, end: u64) -> bool {
        let is_in = |&(first, bytes): &(u64, u64)| first <= start && end <= first.saturating_add(bytes);
        self.ranges == 0 || self.memory[..self.ranges].iter().any(is_in)
    }

    /// Where virtio devices may be, in the tree's order.
    pub fn virtio(&self) -> impl Iterator<Item = Place> {
        self.places[..self.count].iter().copied()
    }

    fn add(&mut self, node: &Node<'a>) {
        if node.level == 2 && node.name == b"chosen" {
            self.boot_line = node.boot_line;
        }
        if !node.is_usable {
            return;
        }
        let base = |index| node.range(index).and_then(|(base, _)| usize::try_from(base).ok());
        if node.is_memory {
            for range in (0..MOST_RANGES).map_while(|index| node.range(index)) {
                if self.ranges < MOST_RANGES {
                    self.memory[self.ranges] = range;
                    self.ranges += 1;
                }
            }
        } else if node.is(b"arm,pl011") {
            self.console = self.console.or(base(0));
        } else if node.is(b"arm,cortex-a15-gic") || node.is(b"arm,gic-400") {
            if let (Some(distributor), Some(processor)) = (base(0), base(1)) {
                self.controller = Some(Controller::V2 {
                    distributor,
                    processor,
                });
            }
        } else if node.is(b"arm,gic-v3") {
            if let (Some(distributor), Some(redistributor)) = (base(0), base(1)) {
                self.controller = Some(Controller::V3 {
                    distributor,
                    redistributor,
                });
            }
        } else if node.name == b"psci" && node.calls_secure_monitor {
            self.conduit = Conduit::SecureMonitor;
        } else if node.is(b"virtio,mmio")
            && let (Some(base), Some(line)) = (base(0), node.line())
            && base % 4 == 0
            && self.count < MOST_PLACES
        {
            self.places[self.count] = Place { base, line };
            self.count += 1;
        }
    }
}

impl Default for Board<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The length in a tree's header; none if this is no tree.
pub fn total_bytes(header: &[u8; 8]) -> Option<usize> {
    (word(header, 0)? == MAGIC).then_some(word(header, 4)? as usize)
}

/// Cells of an address and of a size.
#[derive(Clone, Copy)]
struct Cells {
    address: usize,
    size: usize,
}

/// What the specification says where a node says nothing.
const DEFAULT_CELLS: Cells = Cells { address: 2, size: 1 };

/// A node with its properties.
struct Node<'a> {
    name: &'a [u8],
    /// The root's is 1.
    level: usize,
    /// The parent's, by which `registers` is read.
    cells: Cells,
    compatible: &'a [u8],
    registers: &'a [u8],
    interrupts: &'a [u8],
    boot_line: &'a [u8],
    is_memory: bool,
    is_usable: bool,
    calls_secure_monitor: bool,
}

impl Node<'_> {
    fn is(&self, kind: &[u8]) -> bool {
        self.compatible
            .split(|&byte| byte == 0)
            .any(|known| known == kind)
    }

    /// Address and size, of the first, second … range.
    fn range(&self, index: usize) -> Option<(u64, u64)> {
        let Cells { address, size } = self.cells;
        let at = index.checked_mul(4 * (address + size))?;
        let base = number(self.registers, at, address)?;
        Some((base, number(self.registers, at + 4 * address, size)?))
    }

    /// The controller's number of the first interrupt: kind 0 is a shared one.
    fn line(&self) -> Option<u32> {
        let is_shared = word(self.interrupts, 0)? == 0;
        let line = word(self.interrupts, 4)?.checked_add(FIRST_SHARED)?;
        is_shared.then_some(line)
    }
}

/// The nodes of a tree, each before its children.
struct Nodes<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    at: usize,
    level: usize,
    /// For the children of the node at each level; the root's parent is none.
    cells: [Cells; MOST_LEVELS],
}

impl<'a> Nodes<'a> {
    fn of(blob: &'a [u8]) -> Option<Self> {
        let bytes = total_bytes(blob.first_chunk()?)?;
        let blob = blob.get(..bytes)?;
        let block = |start: usize, size: usize| {
            let (start, size) = (word(blob, start)? as usize, word(blob, size)? as usize);
            blob.get(start..start.checked_add(size)?)
        };
        Some(Self {
            structure: block(8, 36)?,
            strings: block(12, 32)?,
            at: 0,
            level: 0,
            cells: [DEFAULT_CELLS; MOST_LEVELS],
        })
    }

    fn word(&mut self) -> Option<u32> {
        let value = word(self.structure, self.at)?;
        self.at += 4;
        Some(value)
    }

    /// So many bytes, after which the next word begins.
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.structure.get(self.at..end)?;
        self.at = end.next_multiple_of(4);
        Some(bytes)
    }

    fn node(&mut self) -> Option<Node<'a>> {
        let cells = self.cells[self.level];
        self.level += 1;
        *self.cells.get_mut(self.level)? = DEFAULT_CELLS;
        let name = CStr::from_bytes_until_nul(self.structure.get(self.at..)?)
            .ok()?
            .to_bytes();
        self.bytes(name.len() + 1)?;
        let mut node = Node {
            name,
            level: self.level,
            cells,
            compatible: b"",
            registers: b"",
            interrupts: b"",
            boot_line: b"",
            is_memory: false,
            is_usable: true,
            calls_secure_monitor: false,
        };
        loop {
            match word(self.structure, self.at)? {
                PROPERTY => {
                    self.at += 4;
                    self.property(&mut node)?;
                }
                NOP => self.at += 4,
                _ => return Some(node),
            }
        }
    }

    fn property(&mut self, node: &mut Node<'a>) -> Option<()> {
        let (length, name) = (self.word()? as usize, self.word()? as usize);
        let value = self.bytes(length)?;
        let name = CStr::from_bytes_until_nul(self.strings.get(name..)?)
            .ok()?
            .to_bytes();
        let text = value.strip_suffix(b"\0").unwrap_or(value);
        let cells = || {
            word(value, 0)
                .filter(|&cells| cells <= MOST_CELLS)
                .map(|cells| cells as usize)
        };
        match name {
            b"compatible" => node.compatible = value,
            b"reg" => node.registers = value,
            b"interrupts" => node.interrupts = value,
            b"bootargs" => node.boot_line = text,
            b"device_type" => node.is_memory = text == b"memory",
            b"status" => node.is_usable = text == b"okay" || text == b"ok",
            b"method" => node.calls_secure_monitor = text == b"smc",
            b"#address-cells" => self.cells[self.level].address = cells()?,
            b"#size-cells" => self.cells[self.level].size = cells()?,
            _ => {}
        }
        Some(())
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            match self.word()? {
                BEGIN_NODE => return self.node(),
                END_NODE => self.level = self.level.checked_sub(1)?,
                NOP => {}
                _ => return None,
            }
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&word| u32::from_be_bytes(word))
}

/// A number of so many cells, of which the last two count; of none it is 0.
fn number(bytes: &[u8], at: usize, cells: usize) -> Option<u64> {
    (0..cells).try_fold(0, |high, cell| {
        Some(high << 32 | u64::from(word(bytes, at + 4 * cell)?))
    })
}

#[cfg(test)]
mod tests;
