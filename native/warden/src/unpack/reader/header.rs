//! One 512-byte tar header.

use super::pax::Extended;
use super::{BLOCK, Entry, Kind, Time};
use crate::error::{Error, Result};
use crate::unpack::name::shown;

/// Largest numbers of a device that Linux can express.
const MAX_MAJOR: i64 = 0xfff;
const MAX_MINOR: i64 = 0xf_ffff;
/// The largest owner; 2³²−1 means "no owner" to chown.
const MAX_OWNER: i64 = 0xffff_fffe;

/// A header whose checksum is right; its fields are decoded when they are asked for.
pub struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub kind: u8,
}

impl<'a> Header<'a> {
    pub fn decode(block: &'a [u8; BLOCK]) -> Result<Header<'a>> {
        let header = Header {
            block,
            kind: block[156],
        };
        let stated = octal(&block[148..156]);
        // The checksum's own field counts as spaces. Old writers summed signed bytes.
        let sum = |value: fn(u8) -> i64| -> i64 {
            let parts = [&block[..148], b"        ", &block[156..]];
            parts
                .iter()
                .flat_map(|part| part.iter())
                .map(|byte| value(*byte))
                .sum()
        };
        if stated != Some(sum(i64::from)) && stated != Some(sum(|byte| i64::from(byte as i8))) {
            return Err(header.invalid("has a wrong checksum: this is no tar stream, or a damaged one"));
        }
        Ok(header)
    }

    /// An error about this header, with the name as far as it can be told.
    pub fn invalid(&self, reason: &str) -> Error {
        Error::new(
            "image-invalid",
            format!("the tar header of {} {reason}", shown(text(&self.block[0..100]))),
        )
    }

    /// Bytes of content that follow, by the header alone.
    pub fn size(&self) -> Result<u64> {
        let size = number(&self.block[124..136]).ok_or(self.invalid("has a malformed size"))?;
        u64::try_from(size).map_err(|_| self.invalid("has a negative size"))
    }

    /// The entry, with what extension headers before it said. A GNU long name wins over a pax path.
    pub fn entry(
        &self,
        extended: Extended,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry> {
        if extended.is_sparse || self.kind == b'S' {
            return Err(
                self.invalid("is a sparse file, which layers do not have; write the layer with another tool")
            );
        }
        let name = long_name.or(extended.path).unwrap_or_else(|| self.name());
        let link = long_link
            .or(extended.link)
            .unwrap_or_else(|| text(&self.block[157..257]).to_vec());
        let kind = match self.kind {
            // Before POSIX a directory was a file whose name ends in a slash.
            0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(self.invalid(&format!("has the unknown type {:?}", char::from(other)))),
        };
        let field = |value: Option<i64>, range: std::ops::RangeInclusive<i64>, what: &str| {
            let value = value.filter(|value| range.contains(value));
            value.ok_or(self.invalid(&format!("has a malformed {what}")))
        };
        let owner = |extended: Option<i64>, bytes: &[u8], what| -> Result<u32> {
            Ok(field(extended.or_else(|| number(bytes)), 0..=MAX_OWNER, what)? as u32)
        };
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let device = |bytes: &[u8], most, what| -> Result<u32> {
            if is_device {
                Ok(field(number(bytes), 0..=most, what)? as u32)
            } else {
                Ok(0)
            }
        };
        let size = match (kind, extended.size) {
            (Kind::File, Some(size)) => size,
            (Kind::File, None) => self.size()?,
            // A slash made it a directory; its content would be taken for headers.
            (Kind::Directory, size) if self.kind != b'5' && size.unwrap_or(self.size()?) > 0 => {
                return Err(self.invalid("is a file whose name ends in a slash"));
            }
            // Whatever these say of their size, no content follows.
            _ => 0,
        };
        Ok(Entry {
            kind,
            mode: (field(number(&self.block[100..108]), 0..=i64::MAX, "mode")? & 0o7777) as u32,
            uid: owner(extended.uid, &self.block[108..116], "uid")?,
            gid: owner(extended.gid, &self.block[116..124], "gid")?,
            mtime: match extended.mtime {
                Some(time) => time,
                None => Time {
                    seconds: field(number(&self.block[136..148]), i64::MIN..=i64::MAX, "mtime")?,
                    nanoseconds: 0,
                },
            },
            size,
            device: (
                device(&self.block[329..337], MAX_MAJOR, "major number")?,
                device(&self.block[337..345], MAX_MINOR, "minor number")?,
            ),
            xattrs: extended.xattrs,
            name,
            link,
        })
    }

    /// The name in the header itself, with its prefix where the format has one.
    fn name(&self) -> Vec<u8> {
        let name = text(&self.block[0..100]);
        let is_ustar = &self.block[257..263] == b"ustar\0";
        let is_star = &self.block[508..512] == b"tar\0";
        let prefix = match (is_ustar, is_star) {
            (true, true) => text(&self.block[345..476]),
            (true, false) => text(&self.block[345..500]),
            // GNU keeps times and sparse maps there.
            (false, _) => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }
}

/// A field's bytes up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or(field)
}

/// An octal number, or star's and GNU's base-256 with the first bit set.
fn number(field: &[u8]) -> Option<i64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            // Two's complement of the remaining bits: bit 6 of the first byte is the sign.
            let top = i128::from(((first << 1) as i8) >> 1);
            let value = rest
                .iter()
                .fold(top, |value, byte| value << 8 | i128::from(*byte));
            i64::try_from(value).ok()
        }
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field
        .iter()
        .position(|byte| !is_blank(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !is_blank(byte))
        .map_or(start, |last| last + 1);
    field[start..end].iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   17 \0\0"), Some(15));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"12x"), None);
        assert_eq!(number(b"19"), None);
        assert_eq!(
            number(&[
                0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
            ]),
            None
        );
        assert_eq!(number(b"7777777777777777777777777"), None);
    }
}
