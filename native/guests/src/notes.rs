//! The three things in the file that make it a Solo5 executable: interpreter, ABI note, manifest note.

/// A path that does not exist, so that the host's loader refuses to run the guest as a program.
pub type Interpreter = [u8; 24];
pub const INTERPRETER: Interpreter = *b"/nonexistent/solo5/\0\0\0\0\0";

const NAME: [u8; 8] = *b"Solo5\0\0\0";

#[repr(C, align(4))]
pub struct AbiNote {
    name_size: u32,
    descriptor_size: u32,
    kind: u32,
    name: [u8; 8],
    target: u32,
    version: u32,
    reserved: [u32; 2],
}

pub const ABI: AbiNote = AbiNote {
    name_size: 6,
    descriptor_size: 16,
    kind: 0x3149_4241,
    name: NAME,
    target: if cfg!(feature = "spt") { 2 } else { 1 },
    version: 2,
    reserved: [0; 2],
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Block,
    Net,
}

pub type Declared = (Kind, &'static str);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: [u8; 68],
    pub kind: u32,
    pub properties: [u8; 16],
    pub host_fd: i64,
    pub attached: u64,
}

/// `N` is the number of devices plus one for the reserved first entry.
#[repr(C, align(8))]
pub struct ManifestNote<const N: usize> {
    name_size: u32,
    descriptor_size: u32,
    kind: u32,
    name: [u8; 8],
    padding: u32,
    version: u32,
    count: u32,
    entries: [Entry; N],
}

const RESERVED_FIRST: Entry = Entry {
    name: [0; 68],
    kind: 0x4000_0000,
    properties: [0; 16],
    host_fd: 0,
    attached: 0,
};

pub const fn manifest<const N: usize>(devices: &[Declared]) -> ManifestNote<N> {
    let mut entries = [RESERVED_FIRST; N];
    let mut index = 0;
    while index < devices.len() {
        let (kind, name) = devices[index];
        let name = name.as_bytes();
        let entry = &mut entries[index + 1];
        entry.kind = match kind {
            Kind::Block => 1,
            Kind::Net => 2,
        };
        let mut at = 0;
        while at < name.len() {
            entry.name[at] = name[at];
            at += 1;
        }
        index += 1;
    }
    ManifestNote {
        name_size: 6,
        descriptor_size: 4 + 8 + 104 * N as u32,
        kind: 0x3154_464d,
        name: NAME,
        padding: 0,
        version: 1,
        count: N as u32,
        entries,
    }
}
