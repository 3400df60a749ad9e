//! What the monitor hands over: `struct hvm_start_info` and the command line and memory map in it.

use core::ffi::{CStr, c_char};
use core::ptr::with_exposed_provenance;

const MAGIC: u32 = 0x336e_c578;

#[repr(C)]
struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    /// From version 1 on.
    memory_map: u64,
    memory_map_entries: u32,
}

#[repr(C)]
struct MemoryRange {
    start: u64,
    bytes: u64,
    kind: u32,
    reserved: u32,
}

/// The kind of a range that is memory.
const RAM: u32 = 1;
/// More entries than a virtual machine's map has.
const MAP_LIMIT: usize = 128;
/// Where the image begins, as link/pvh.ld says.
const IMAGE_START: u64 = 0x10_0000;

/// Whether there is memory for the whole image; a monitor that gives no map is believed.
///
/// # Safety
/// As [`command_line`].
pub unsafe fn has_memory(at: usize) -> bool {
    unsafe extern "C" {
        static IMAGE_END: u8;
    }
    // SAFETY: the caller's promise.
    let info = unsafe { &*with_exposed_provenance::<StartInfo>(at) };
    if info.magic != MAGIC || info.version < 1 || info.memory_map == 0 {
        return true;
    }
    let end = (&raw const IMAGE_END).addr() as u64;
    let first = with_exposed_provenance::<MemoryRange>(info.memory_map as usize);
    (0..MAP_LIMIT.min(info.memory_map_entries as usize)).any(|at| {
        // SAFETY: the monitor says that so many ranges lie there.
        let range = unsafe { &*first.add(at) };
        range.kind == RAM && range.start <= IMAGE_START && range.start.saturating_add(range.bytes) >= end
    })
}

/// The command line; empty if there is none.
///
/// # Safety
/// `at` must be what the monitor gave at the PVH entry, with its memory untouched.
pub unsafe fn command_line(at: usize) -> &'static [u8] {
    // SAFETY: the caller's promise.
    let info = unsafe { &*with_exposed_provenance::<StartInfo>(at) };
    let Ok(line) = usize::try_from(info.command_line) else {
        return b"";
    };
    if info.magic != MAGIC || line == 0 {
        return b"";
    }
    // SAFETY: the monitor ends the line with a zero, and nobody writes to it.
    unsafe { CStr::from_ptr(with_exposed_provenance::<c_char>(line)) }.to_bytes()
}
