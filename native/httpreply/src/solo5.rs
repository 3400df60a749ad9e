//! What the two Solo5 guests share: the notes by which a tender knows a guest, the manifest of devices, the memory layout.
//!
//! After the published ABI: `elf_abi.h`, `mft_abi.h` (ABI version 2, manifest version 1).

use crate::unikernel::Link;

/// The name of the one network device.
pub const DEVICE: &str = "service0";
/// Its entry in the manifest, which is also its handle.
pub const HANDLE: usize = 1;

const RESERVED_FIRST: u32 = 0x4000_0000;
const NET_BASIC: u32 = 2;
/// Least bytes between the image's end and the end of memory: the stack.
const STACK_BYTES: u64 = 64 * 1024;

/// An entry of the manifest; the union's arms for networks.
#[repr(C)]
pub struct Entry {
    name: [u8; 68],
    kind: u32,
    mac: [u8; 6],
    mtu: u16,
    _capacity_rest: u64,
    /// The host's descriptor of an attached device, under `spt`.
    pub host_fd: u64,
    attached: bool,
}

impl Entry {
    const fn new(name: &str, kind: u32) -> Self {
        let mut padded = [0; 68];
        let (bytes, mut at) = (name.as_bytes(), 0);
        while at < bytes.len() {
            padded[at] = bytes[at];
            at += 1;
        }
        Self {
            name: padded,
            kind,
            mac: [0; 6],
            mtu: 0,
            _capacity_rest: 0,
            host_fd: 0,
            attached: false,
        }
    }
}

/// The manifest: what the file declares, and what the tender gives to the guest, filled in.
#[repr(C)]
pub struct Manifest {
    version: u32,
    entries: u32,
    pub entry: [Entry; 2],
}

impl Manifest {
    const fn new() -> Self {
        Self {
            version: 1,
            entries: 2,
            entry: [Entry::new("", RESERVED_FIRST), Entry::new(DEVICE, NET_BASIC)],
        }
    }

    /// The network device, as attached.
    pub fn link(&self) -> Option<Link> {
        let net = &self.entry[HANDLE];
        net.attached.then_some(Link {
            mac: net.mac,
            mtu: net.mtu.into(),
        })
    }
}

/// An ELF note with a name of Solo5's length; `C` starts at offset 20 or, where its alignment is 8, at 24.
#[repr(C)]
pub struct Note<C> {
    name_size: u32,
    content_size: u32,
    kind: u32,
    name: [u8; 8],
    content: C,
}

/// Content of the ABI note.
#[repr(C)]
pub struct Abi {
    target: u32,
    version: u32,
    reserved: [u32; 2],
}

/// The note that names the ABI: target 1 is `hvt`, 2 is `spt`.
pub const fn abi_note(target: u32) -> Note<Abi> {
    let content = Abi {
        target,
        version: 2,
        reserved: [0; 2],
    };
    Note {
        name_size: 6,
        content_size: size_of::<Abi>() as u32,
        kind: 0x3149_4241,
        name: *b"Solo5\0\0\0",
        content,
    }
}

/// The note that declares the devices.
pub const fn manifest_note() -> Note<Manifest> {
    // The four bytes before the content that align it count as content.
    let content_size = size_of::<Manifest>() as u32 + 4;
    Note {
        name_size: 6,
        content_size,
        kind: 0x3154_464d,
        name: *b"Solo5\0\0\0",
        content: Manifest::new(),
    }
}

const _: () = assert!(size_of::<Entry>() == 104 && size_of::<Manifest>() == 8 + 2 * 104);
const _: () = assert!(core::mem::offset_of!(Note<Abi>, content) == 20);
const _: () = assert!(core::mem::offset_of!(Note<Manifest>, content) == 24);

/// Puts the notes of a guest for a target (see [`abi_note`]) into the program that calls it. The interpreter that does not
/// exist makes a host that executes the file by mistake fail at once instead of jumping into it.
#[macro_export]
macro_rules! solo5_notes {
    ($target:expr) => {
        #[used]
        #[unsafe(link_section = ".interp")]
        static INTERPRETER: [u8; 24] = *b"/nonexistent/solo5/\0\0\0\0\0";
        #[used]
        #[unsafe(link_section = ".note.solo5.abi")]
        static ABI: $crate::solo5::Note<$crate::solo5::Abi> = $crate::solo5::abi_note($target);
        #[used]
        #[unsafe(link_section = ".note.solo5.manifest")]
        static MANIFEST: $crate::solo5::Note<$crate::solo5::Manifest> = $crate::solo5::manifest_note();
    };
}

/// Whether the stack has its place above the image. The tender has only checked that the image itself fits.
pub fn has_stack(memory_bytes: u64) -> bool {
    unsafe extern "C" {
        static IMAGE_END: u8;
    }
    let end = (&raw const IMAGE_END).addr() as u64;
    memory_bytes.saturating_sub(end) >= STACK_BYTES
}

/// What to say where [`has_stack`] is not so.
pub const NO_STACK: &str = "httpreply: too little memory: give the guest at least 2 MiB\n";

/// The boot line at the address the tender gave.
///
/// # Safety
/// It must be a C string that lives on unchanged.
pub unsafe fn boot_line(at: *const core::ffi::c_char) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::ffi::CStr::from_ptr(at) }.to_bytes()
}
