//! The place of a volume in a guest's root: a path that is resolved as in a container, where symbolic links mean what they mean in that root. Every part is
//! opened beneath the root's descriptor without following a link; links are read and followed here, so that none leads out, whoever changes the tree.

use crate::error::{Context, Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

const BENEATH: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

fn open(root: &impl AsFd, parts: &[String], flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    let path = format!("/{}", parts.join("/"));
    rustix::fs::openat2(
        root,
        path,
        flags | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        BENEATH,
    )
}

/// The file or directory at a path of the root. What is missing is made: directories of mode 0755 and at the end such a directory or an empty file.
pub fn place(root: &impl AsFd, at: &str, directory: bool) -> Result<OwnedFd> {
    let what = || format!("cannot make a place for {at} in the guest's root");
    let mut done: Vec<String> = Vec::new();
    // The next part is the last of these.
    let mut todo = parts_of(at);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        match open(root, &done, OFlags::NOFOLLOW) {
            Ok(found) if is_link(&found).or_system(what)? => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::system(what(), Errno::LOOP));
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new()).or_system(what)?;
                let target = target
                    .into_string()
                    .map_err(|_| Error::step(format!("{}: a link in it is not UTF-8", what())))?;
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                todo.extend(parts_of(&target));
            }
            Ok(_) => {}
            Err(Errno::NOENT) => make(root, &done, directory || !todo.is_empty()).or_system(what)?,
            Err(error) => return Err(Error::system(what(), error)),
        }
    }
    if done.is_empty() {
        return Err(Error::step(format!("{at} is the guest's root itself")));
    }
    open(root, &done, OFlags::NOFOLLOW).or_system(what)
}

/// Last one first.
fn parts_of(path: &str) -> Vec<String> {
    let parts = path.split('/').rev();
    parts
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_string)
        .collect()
}

fn is_link(file: &OwnedFd) -> std::result::Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode).is_symlink())
}

fn make(root: &impl AsFd, parts: &[String], directory: bool) -> std::result::Result<(), Errno> {
    let Some((name, above)) = parts.split_last() else {
        return Err(Errno::INVAL);
    };
    let holder = open(root, above, OFlags::DIRECTORY)?;
    if directory {
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&holder, name, mode)?;
        // Whatever the umask is.
        let made = open(root, parts, OFlags::DIRECTORY)?;
        return rustix::fs::chmodat(&made, ".", mode, AtFlags::empty());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&holder, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;

    struct Tree(PathBuf);

    impl Tree {
        fn make(name: &str) -> Tree {
            let base = std::env::temp_dir().join(format!("tripod-volume-{name}-{}", std::process::id()));
            std::fs::create_dir_all(base.join("root/run")).unwrap();
            std::fs::create_dir_all(base.join("outside")).unwrap();
            Tree(base)
        }

        fn place(&self, at: &str, directory: bool) -> Result<u64> {
            let root = std::fs::File::open(self.0.join("root")).unwrap();
            let found = place(&root, at, directory)?;
            Ok(rustix::fs::fstat(&found).unwrap().st_ino)
        }

        fn inode(&self, at: &str) -> u64 {
            std::fs::symlink_metadata(self.0.join(at)).unwrap().ino()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_found() {
        let tree = Tree::make("made");
        let made = tree.place("/a/b/dir", true).unwrap();
        assert_eq!(made, tree.inode("root/a/b/dir"));
        let file = tree.place("/a/file", false).unwrap();
        assert_eq!(file, tree.inode("root/a/file"));
        assert_eq!(tree.place("/a/file", false).unwrap(), file);
        assert!(tree.place("/a/file/below", false).is_err());
        assert!(tree.place("/", true).is_err());
    }

    #[test]
    fn links_mean_what_they_mean_in_the_root() {
        let tree = Tree::make("links");
        let root = tree.0.join("root");
        symlink("/run", root.join("abs")).unwrap();
        symlink("../../../outside", root.join("out")).unwrap();
        symlink("../run/stub/resolv.conf", root.join("resolv.conf")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(
            tree.place("/abs/secrets", true).unwrap(),
            tree.inode("root/run/secrets")
        );
        assert_eq!(
            tree.place("/resolv.conf", false).unwrap(),
            tree.inode("root/run/stub/resolv.conf")
        );
        assert_eq!(tree.place("/out/x", true).unwrap(), tree.inode("root/outside/x"));
        assert!(!tree.0.join("outside/x").exists());
        assert_eq!(
            tree.place("/loop", true).unwrap_err().errno.as_deref(),
            Some("ELOOP")
        );
        symlink("..", root.join("top")).unwrap();
        assert!(tree.place("/top", true).is_err());
    }
}
