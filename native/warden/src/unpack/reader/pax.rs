//! The records of a pax extended header: `LENGTH KEY=VALUE\n`, the length in decimal and counting the whole record.

use super::Time;

/// More than any file has; keeps the search for duplicates short.
const MAX_XATTRS: usize = 256;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What the records before an entry say of it. An empty value takes back an earlier one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extended {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub mtime: Option<Time>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub is_sparse: bool,
}

impl Extended {
    /// The reason, where the records are malformed, completes "the tar header of … ".
    pub fn decode(mut bytes: &[u8]) -> Result<Extended, String> {
        let mut extended = Extended::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("has malformed pax records")?;
            extended
                .take(key, value)
                .ok_or_else(|| format!("has a malformed pax record {}", crate::unpack::name::shown(key)))?;
            bytes = rest;
        }
        Ok(extended)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let is_taken_back = value.is_empty();
        match key {
            b"path" => self.path = string(value)?,
            b"linkpath" => self.link = string(value)?,
            b"size" if is_taken_back => self.size = None,
            b"size" => self.size = Some(u64::try_from(decimal(value)?).ok()?),
            b"uid" if is_taken_back => self.uid = None,
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" if is_taken_back => self.gid = None,
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" if is_taken_back => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value)?),
            _ if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    if name.is_empty() || name.contains(&0) || self.xattrs.len() >= MAX_XATTRS {
                        return None;
                    }
                    self.xattrs.retain(|(known, _)| known != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

/// The first record's key and value, and the rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // Twenty digits are more than any length has.
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record
        .iter()
        .position(|byte| *byte == b'=')
        .filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

fn string(value: &[u8]) -> Option<Option<Vec<u8>>> {
    if value.contains(&0) {
        return None;
    }
    Some((!value.is_empty()).then(|| value.to_vec()))
}

fn decimal(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are dropped.
fn time(text: &[u8]) -> Option<Time> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = decimal(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits: Vec<u8> = fraction
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .collect();
    let nanoseconds = u32::try_from(decimal(&digits)?).ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        // Nanoseconds count forward from the second before.
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(records: &str) -> Result<Extended, String> {
        Extended::decode(records.as_bytes())
    }

    #[test]
    fn records_are_read_and_the_last_wins() {
        let extended = decode("9 path=a\n9 path=b\n10 uid=70\n13 comment=x\n").expect("records");
        assert_eq!((extended.path, extended.uid), (Some(b"b".to_vec()), Some(70)));
        assert_eq!(decode("9 path=a\n8 path=\n").expect("taken back").path, None);
    }

    #[test]
    fn times_before_the_epoch_and_fractions_are_kept() {
        assert_eq!(
            time(b"12.5"),
            Some(Time {
                seconds: 12,
                nanoseconds: 500_000_000
            })
        );
        assert_eq!(
            time(b"-1.25"),
            Some(Time {
                seconds: -2,
                nanoseconds: 750_000_000
            })
        );
        assert_eq!(
            time(b"3.1234567899"),
            Some(Time {
                seconds: 3,
                nanoseconds: 123_456_789
            })
        );
        assert_eq!((time(b""), time(b"1.x"), time(b"--1")), (None, None, None));
    }

    #[test]
    fn malformed_records_are_refused() {
        for records in [
            "path=a\n",
            "9 path=a",
            "99 path=a\n",
            "5 =a\n\n",
            "0 \n",
            "10 size=-1\n",
            "9 uid=x1\n",
            "3 \n",
            "9 path=\0\n",
        ] {
            assert!(decode(records).is_err(), "{records:?}");
        }
    }
}
