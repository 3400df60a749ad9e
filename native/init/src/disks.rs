//! Which device is which disk: by the serial number that the monitor gives it, or, where a monitor can give none, by
//! order.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Disk;
use crate::system::{facts, names, now, read_file, sleep};

/// How long a disk may take to appear.
const PATIENCE: Duration = Duration::from_secs(2);
/// A virtio disk's serial number has no more bytes.
const SERIAL_BYTES: usize = 20;

/// A disk that the kernel has found.
#[derive(Debug)]
struct Found {
    /// `vda`.
    name: String,
    serial: Vec<u8>,
    /// Whether the root file system lies on it.
    is_root: bool,
}

/// The device of each disk, in the same order.
///
/// # Errors
/// A sentence, for a disk that does not appear.
pub fn find(disks: &[Disk]) -> Result<Vec<CString>, String> {
    let deadline = now() + PATIENCE;
    loop {
        match devices_of(disks, &found()) {
            Ok(devices) => return Ok(devices),
            Err(why) if now() > deadline => return Err(why),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

fn found() -> Vec<Found> {
    let path = |words: &[&str]| CString::new(words.concat()).unwrap_or_default();
    let root = facts(c"/").map(|facts| facts.st_dev).ok();
    let mut disks: Vec<Found> = names(c"/sys/block")
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.starts_with("vd"))
        .map(|name| {
            let serial = read_file(&path(&["/sys/block/", &name, "/serial"]), 4096).unwrap_or_default();
            let device = facts(&path(&["/dev/", &name])).map(|facts| facts.st_rdev).ok();
            Found {
                name,
                serial: serial.trim_ascii_end().to_vec(),
                is_root: device.is_some() && device == root,
            }
        })
        .collect();
    // vdb comes before vdaa.
    disks.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    disks
}

/// Firecracker gives no serial numbers, and urunc calls its disks `FC…`: the first of them is the first disk that is not
/// the root's, and so on.
fn devices_of(disks: &[Disk], found: &[Found]) -> Result<Vec<CString>, String> {
    let mut in_order = found.iter().filter(|disk| !disk.is_root);
    disks
        .iter()
        .map(|Disk { id, .. }| {
            let device = if id.starts_with(b"FC") {
                in_order.next()
            } else {
                let serial = &id[..id.len().min(SERIAL_BYTES)];
                found.iter().find(|disk| disk.serial == serial)
            };
            device
                .and_then(|disk| CString::new(format!("/dev/{}", disk.name)).ok())
                .ok_or_else(|| format!("there is no disk {}", id.escape_ascii()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(ids: &[&str], found: &[(&str, &str, bool)]) -> Result<Vec<String>, String> {
        let disks: Vec<Disk> = ids
            .iter()
            .map(|id| Disk {
                id: id.as_bytes().to_vec(),
                mount_point: c"/".to_owned(),
            })
            .collect();
        let found: Vec<Found> = found
            .iter()
            .map(|&(name, serial, is_root)| Found {
                name: name.to_owned(),
                serial: serial.into(),
                is_root,
            })
            .collect();
        let devices = devices_of(&disks, &found)?;
        Ok(devices
            .iter()
            .map(|device| device.to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn a_disk_is_found_by_its_serial_number_of_which_twenty_bytes_are_kept() {
        let found = [
            ("vda", "root", true),
            ("vdb", "", false),
            ("vdc", "a-name-of-twenty-byt", false),
        ];
        let ids = ["a-name-of-twenty-bytes-and-more", "root"];
        assert_eq!(
            devices(&ids, &found),
            Ok(vec!["/dev/vdc".into(), "/dev/vda".into()])
        );
        assert_eq!(devices(&["vol0"], &found), Err("there is no disk vol0".into()));
    }

    #[test]
    fn without_serial_numbers_it_is_by_order_after_the_root() {
        let found = [("vda", "", true), ("vdb", "", false), ("vdc", "", false)];
        assert_eq!(
            devices(&["FC1", "FC0"], &found),
            Ok(vec!["/dev/vdb".into(), "/dev/vdc".into()])
        );
        assert_eq!(
            devices(&["FC0"], &[("vda", "", false)]),
            Ok(vec!["/dev/vda".into()])
        );
        assert_eq!(devices(&["FC0"], &found[..1]), Err("there is no disk FC0".into()));
    }
}
