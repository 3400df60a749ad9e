//! The kinds of paths a plan carries, checked as they are read (`src/spec/paths.ts`).

use serde::{Deserialize, Serialize};
use std::path::Path;

macro_rules! checked_path {
    ($(#[$doc:meta])* $name:ident, $check:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(path: String) -> Result<Self, String> {
                let check: fn(&str) -> bool = $check;
                if !path.contains('\0') && check(&path) {
                    Ok($name(path))
                } else {
                    Err(format!(concat!("not ", $what, ": {:?}"), path))
                }
            }
        }

        impl From<$name> for String {
            fn from(path: $name) -> String {
                path.0
            }
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<Path> for $name {
            fn as_ref(&self) -> &Path {
                Path::new(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_clean(path: &str) -> bool {
    path.split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..")
}

checked_path!(
    /// An absolute path on the host, chosen by us or by the operator.
    HostPath,
    |path| path.starts_with('/'),
    "an absolute path"
);
checked_path!(
    /// An absolute, clean path inside the private root.
    SandboxPath,
    |path| path == "/" || path.strip_prefix('/').is_some_and(is_clean),
    "a clean absolute path"
);
checked_path!(
    /// A clean relative path beneath the state directory.
    StatePath,
    is_clean,
    "a clean relative path"
);
checked_path!(
    /// A clean path of a cgroup, absolute within its hierarchy.
    CgroupPath,
    |path| path.strip_prefix('/').is_some_and(is_clean),
    "a clean cgroup path"
);

/// Whether a string is a sandbox's id: `[A-Za-z0-9_][A-Za-z0-9_+.-]{0,127}`.
pub fn is_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    bytes.len() <= 128
        && bytes.first().is_some_and(plain)
        && bytes.iter().all(|b| plain(b) || b"+.-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_leave_its_root_is_refused() {
        for bad in ["", "a/../b", "../a", "/a", "a//b", "a/", "a/./b", "a\0b"] {
            assert!(StatePath::try_from(bad.to_string()).is_err(), "{bad:?}");
        }
        for bad in ["", "a", "/a/../b", "//", "/a/", "/.."] {
            assert!(SandboxPath::try_from(bad.to_string()).is_err(), "{bad:?}");
            assert!(CgroupPath::try_from(bad.to_string()).is_err(), "{bad:?}");
        }
        assert!(CgroupPath::try_from("/".to_string()).is_err());
        assert!(SandboxPath::try_from("/".to_string()).is_ok());
    }

    #[test]
    fn ids_are_plain() {
        assert!(is_id("3f2a") && is_id("A_.-+"));
        assert!(!is_id("") && !is_id(".a") && !is_id("-a") && !is_id("a/b") && !is_id(&"a".repeat(129)));
    }
}
