//! Names in a layer: bytes from outside that become paths beneath the layer's root, or are refused.

use crate::error::{Error, Result};

/// PATH_MAX less its NUL, and NAME_MAX: what Linux can open again.
pub const MAX_PATH_BYTES: usize = 4095;
const MAX_PART_BYTES: usize = 255;
/// Of a name this much is shown in a message.
const MAX_SHOWN_CHARS: usize = 200;

pub const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";
/// Book-keeping of the aufs file system, which has no meaning to others.
const AUFS_PRIVATE: &[u8] = b".wh..wh.";

/// A name as it is shown in messages: quoted, escaped, of bounded length.
pub fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut short: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// The parts of a name joined by single slashes, without leading `./`; empty for the root itself (`.`, `./`, `/`).
/// Absolute names and `..` are refused: no honest tool writes them into a layer.
pub fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let unsafe_name = |reason: &str| {
        Err(Error::new(
            "image-unsafe",
            format!("the name {} {reason}", shown(name)),
        ))
    };
    let invalid = |reason: &str| {
        Err(Error::new(
            "image-invalid",
            format!("the name {} {reason}", shown(name)),
        ))
    };
    if name.len() > MAX_PATH_BYTES {
        return invalid("is longer than 4095 bytes");
    }
    if name.is_empty() {
        return invalid("is empty");
    }
    if name.contains(&0) {
        return invalid("holds a NUL byte");
    }
    if name.starts_with(b"/") && name.iter().any(|byte| *byte != b'/') {
        return unsafe_name("is absolute");
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return unsafe_name("has a part `..`"),
            _ if part.len() > MAX_PART_BYTES => return invalid("has a part longer than 255 bytes"),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(part);
    }
    Ok(path)
}

/// The directory and the last part of a clean path; the root's own last part is empty.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// What a clean path stands for in the OCI layer format.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// An entry of its own.
    Entry,
    /// `.wh.NAME`: NAME of the layers below is hidden. Holds NAME.
    Whiteout(&'a [u8]),
    /// `.wh..wh..opq`: everything in this directory of the layers below is hidden.
    Opaque,
    /// Nothing.
    Skip,
}

/// Tells markers from entries.
pub fn meaning(path: &[u8]) -> Result<Meaning<'_>> {
    let (parent, base) = split(path);
    let is_marker_dir = |part: &[u8]| part.starts_with(WHITEOUT);
    if parent
        .split(|byte| *byte == b'/')
        .any(|part| part.starts_with(AUFS_PRIVATE))
    {
        return Ok(Meaning::Skip);
    }
    if parent.split(|byte| *byte == b'/').any(is_marker_dir) {
        return Err(Error::new(
            "image-invalid",
            format!("{} lies beneath a whiteout marker", shown(path)),
        ));
    }
    if base == OPAQUE_MARKER {
        return Ok(Meaning::Opaque);
    }
    if base.starts_with(AUFS_PRIVATE) {
        return Ok(Meaning::Skip);
    }
    match base.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => Err(Error::new(
            "image-unsafe",
            format!("the whiteout {} names no entry of its directory", shown(path)),
        )),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_become_paths() {
        for (name, path) in [
            ("a", "a"),
            ("./a/b/", "a/b"),
            ("a//b/./c", "a/b/c"),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(clean(name.as_bytes()).expect(name), path.as_bytes());
        }
    }

    #[test]
    fn names_that_could_leave_the_root_are_unsafe() {
        for name in ["/a", "//a", "..", "../a", "a/../b", "a/..", "./../a", "/.", "/.."] {
            assert_eq!(
                clean(name.as_bytes()).expect_err(name).code,
                "image-unsafe",
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_no_file_can_have_are_invalid() {
        for name in [String::new(), "a\0b".into(), "a".repeat(256), "ab/".repeat(1366)] {
            assert_eq!(clean(name.as_bytes()).expect_err("invalid").code, "image-invalid");
        }
    }

    #[test]
    fn markers_are_told_from_entries() {
        for (path, expected) in [
            ("a/b", Meaning::Entry),
            ("a/.wh.b", Meaning::Whiteout(b"b")),
            (".wh..b", Meaning::Whiteout(b".b")),
            ("a/.wh..wh..opq", Meaning::Opaque),
            (".wh..wh.plnk/1.2", Meaning::Skip),
            (".wh..wh.aufs", Meaning::Skip),
            ("a/.who", Meaning::Entry),
        ] {
            assert_eq!(meaning(path.as_bytes()).expect(path), expected);
        }
        for path in [".wh.", "a/.wh..", "a/.wh..."] {
            assert_eq!(meaning(path.as_bytes()).expect_err(path).code, "image-unsafe");
        }
        assert_eq!(meaning(b"a/.wh.b/c").expect_err("beneath").code, "image-invalid");
    }

    #[test]
    fn a_hostile_name_is_shown_short_and_escaped() {
        let text = shown(&[b"\x1b[2J\xff".as_slice(), &[b'x'; 9000]].concat());
        assert!(text.starts_with("\"\\u{1b}[2J") && text.len() < 300, "{text}");
    }
}
