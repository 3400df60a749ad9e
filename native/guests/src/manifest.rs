//! The manifest as the tender hands it over, with what was attached.

use crate::notes::{Entry, Kind};
use crate::start;

/// Handle and entry of an attached device.
pub fn find(name: &str, kind: Kind) -> Option<(u64, &'static Entry)> {
    let wanted = match kind {
        Kind::Block => 1,
        Kind::Net => 2,
    };
    let entries = entries().iter().enumerate();
    entries
        .filter(|(_, entry)| entry.kind == wanted && entry.attached & 0xff == 1)
        .find(|(_, entry)| {
            let end = entry
                .name
                .iter()
                .position(|&byte| byte == 0)
                .unwrap_or(entry.name.len());
            &entry.name[..end] == name.as_bytes()
        })
        .map(|(index, entry)| (index as u64, entry))
}

/// The whole table, the reserved first entry included: an entry's place is its handle.
pub fn entries() -> &'static [Entry] {
    let header = start::boot_info().manifest as *const [u32; 2];
    // SAFETY: the tender put the table there: version and count, then the entries, all aligned to 8.
    unsafe {
        let [_, count] = *header;
        core::slice::from_raw_parts(header.add(1).cast::<Entry>(), count as usize)
    }
}
