//! Layers made by hand, unpacked into temporary directories. They need root; the confinement around it is tested through the
//! program itself, in `native/warden/tests/unpack.rs`.

use super::arguments::Limits;
use super::layer::{Summary, unpack};
use crate::error::Error;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A tar stream under construction.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    /// One header, as its fields say, and content; the checksum is made right.
    fn raw(
        mut self,
        name: &[u8],
        kind: u8,
        link: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Tar {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000001750\0");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut header);
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, name: &str, kind: u8, link: &str, content: &[u8]) -> Tar {
        self.raw(name.as_bytes(), kind, link.as_bytes(), content, |_| {})
    }

    fn file(self, name: &str, content: &str) -> Tar {
        self.entry(name, b'0', "", content.as_bytes())
    }

    fn directory(self, name: &str, mode: &str) -> Tar {
        let mode = mode.to_string();
        self.raw(name.as_bytes(), b'5', b"", b"", |header| {
            header[100..107].copy_from_slice(mode.as_bytes())
        })
    }

    fn symlink(self, name: &str, target: &str) -> Tar {
        self.entry(name, b'2', target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Tar {
        self.entry(name, b'1', target, b"")
    }

    fn device(self, name: &str, kind: u8, major: u32, minor: u32) -> Tar {
        self.raw(name.as_bytes(), kind, b"", b"", |header| {
            header[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
            header[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        })
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut content = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + 1;
            while length != body + length.to_string().len() {
                length = body + length.to_string().len();
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.entry("PaxHeaders/x", b'x', "", &content)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A temporary directory with a sentinel beside the layer's own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tripod-unpack-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let place = Place(std::env::temp_dir().join(name));
        std::fs::create_dir_all(place.path("")).expect("a directory");
        std::fs::write(place.0.join("sentinel"), "untouched").expect("a sentinel");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("layer").join(name)
    }

    fn open(&self) -> OwnedFd {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(self.path(""), flags, Mode::empty()).expect("the directory")
    }

    /// On top of other layers, the topmost first.
    fn unpack_on(&self, lowers: &[&Place], tar: Tar) -> Summary {
        let lowers: Vec<OwnedFd> = lowers.iter().map(|lower| lower.open()).collect();
        unpack(tar.end().as_slice(), &self.open(), &lowers, Limits::default()).expect("the layer")
    }

    fn unpack_within(&self, tar: &[u8], limits: Limits) -> Result<Summary, Error> {
        let outcome = unpack(tar, &self.open(), &[], limits);
        assert_eq!(
            std::fs::read_to_string(self.0.join("sentinel")).expect("the sentinel"),
            "untouched"
        );
        assert_eq!(
            std::fs::read_dir(&self.0).expect("the place").count(),
            2,
            "something beside the layer"
        );
        outcome
    }

    fn unpack(&self, tar: Tar) -> Summary {
        self.unpack_within(&tar.end(), Limits::default())
            .expect("the layer")
    }

    fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn metadata(&self, name: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn xattr(&self, name: &str, attribute: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(self.path(name), attribute, value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some(value)
    }

    fn is_opaque(&self, name: &str) -> bool {
        self.xattr(name, "trusted.overlay.opaque").as_deref() == Some(b"y")
    }

    fn is_whiteout(&self, name: &str) -> bool {
        let metadata = self.metadata(name);
        metadata.file_type().is_char_device() && metadata.rdev() == 0
    }

    /// Mode, owner, group and time of modification.
    fn description(&self, name: &str) -> (u32, u32, u32, i64) {
        let metadata = self.metadata(name);
        (
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
        )
    }

    fn names(&self) -> Vec<String> {
        let listed = std::fs::read_dir(self.path("")).expect("the layer");
        let mut names: Vec<String> = listed
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The error of a layer that must be refused, and that leaves nothing.
fn refusal(tar: Tar) -> Error {
    refusal_within(&tar.end(), Limits::default())
}

fn refusal_within(tar: &[u8], limits: Limits) -> Error {
    let place = Place::new();
    let error = place.unpack_within(tar, limits).expect_err("a refusal");
    assert_eq!(place.names(), Vec::<String>::new(), "{error}");
    error
}

#[test]
fn files_directories_and_links_become_what_they_are() {
    let place = Place::new();
    let summary = place.unpack(
        Tar::default()
            .directory("./", "0000711")
            .directory("./etc/", "0001777")
            .file("./etc/name", "tripod\n")
            .symlink("etc/abs", "/etc/name")
            .symlink("etc/up", "../../../outside")
            .hard_link("etc/second", "./etc/name")
            .hard_link("etc/link-to-link", "etc/abs")
            .file("missing/parents/file", "")
            .entry("fifo", b'6', "", b"")
            .device("null", b'3', 1, 3)
            .device("disk", b'4', 8, 300),
    );
    assert_eq!(
        summary,
        Summary {
            entries: 13,
            bytes: 7,
            opaque: false
        }
    );
    assert_eq!(place.content("etc/second"), "tripod\n");
    assert_eq!(place.metadata("etc/name").nlink(), 2);
    assert_eq!(
        std::fs::read_link(place.path("etc/abs")).expect("a link"),
        Path::new("/etc/name")
    );
    assert!(place.metadata("etc/link-to-link").is_symlink());
    assert_eq!(place.metadata("").mode() & 0o7777, 0o711);
    assert_eq!(place.metadata("etc").mode() & 0o7777, 0o1777);
    assert_eq!(place.metadata("missing/parents").mode() & 0o7777, 0o755);
    assert!(place.metadata("fifo").file_type().is_fifo());
    assert_eq!(place.metadata("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(place.metadata("disk").file_type().is_block_device());
    assert_eq!(place.metadata("disk").rdev(), rustix::fs::makedev(8, 300));
    // Directories keep their times although entries were made in them later.
    for name in ["etc", "etc/name", "etc/abs", "null"] {
        assert_eq!(place.metadata(name).mtime(), 1000, "{name}");
    }
}

#[test]
fn owners_modes_and_set_user_id_are_kept() {
    let place = Place::new();
    place.unpack(
        Tar::default()
            .raw(b"su", b'0', b"", b"x", |header| {
                header[100..107].copy_from_slice(b"0104755");
                header[108..115].copy_from_slice(b"0001750");
                header[116..123].copy_from_slice(b"0001751");
            })
            .pax(&[("uid", b"4000000"), ("gid", b"4000001"), ("mtime", b"-1.5")])
            .symlink("link", "su")
            .raw(b"big", b'0', b"", b"", |header| {
                header[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0, 1, 0, 0])
            }),
    );
    let su = place.metadata("su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid()), (0o4755, 1000, 1001));
    let link = place.metadata("link");
    assert_eq!(
        (link.uid(), link.gid(), link.mtime(), link.mtime_nsec()),
        (4_000_000, 4_000_001, -2, 500_000_000)
    );
    assert_eq!(place.metadata("big").uid(), 65536);
}

/// A directory with an owner.
fn owned(tar: Tar, name: &str, mode: &str, owner: u32) -> Tar {
    tar.raw(name.as_bytes(), b'5', b"", b"", |header| {
        header[100..107].copy_from_slice(mode.as_bytes());
        header[108..115].copy_from_slice(format!("{owner:07o}").as_bytes());
        header[116..123].copy_from_slice(format!("{:07o}", owner + 1).as_bytes());
    })
}

#[test]
fn a_directory_that_is_only_implied_is_as_in_the_nearest_layer_below() {
    let (bottom, middle, top) = (Place::new(), Place::new(), Place::new());
    let tar = owned(Tar::default(), "./", "0000711", 5);
    let tar = owned(tar, "home", "0000700", 1000)
        .directory("tmp", "0001777")
        .pax(&[
            ("SCHILY.xattr.user.colour", b"blue"),
            ("SCHILY.xattr.trusted.x", b"y"),
        ])
        .directory("home/deep", "0002750")
        .directory("both", "0000700")
        .directory("stated", "0000700");
    bottom.unpack(tar);
    middle.unpack_on(&[&bottom], owned(Tar::default(), "both", "0000711", 7));
    assert_eq!(middle.description(""), (0o711, 5, 6, 1000));
    let summary = top.unpack_on(
        &[&middle, &bottom],
        Tar::default()
            .file("tmp/x", "")
            .file("home/deep/new/y", "")
            .symlink("alias", "both")
            .file("both/z", "")
            .file("alias/more/z", "")
            .file("stated/z", "")
            .directory("stated", "0000750"),
    );
    assert_eq!(summary.bytes, 5, "attributes count");
    assert_eq!(top.description(""), (0o711, 5, 6, 1000));
    assert_eq!(top.description("tmp"), (0o1777, 0, 0, 1000));
    assert_eq!(top.description("home"), (0o700, 1000, 1001, 1000));
    assert_eq!(top.description("home/deep"), (0o2750, 0, 0, 1000));
    assert_eq!(
        top.xattr("home/deep", "user.colour").as_deref(),
        Some(&b"blue"[..])
    );
    assert_eq!(top.xattr("home/deep", "trusted.x").as_deref(), Some(&b"y"[..]));
    assert_eq!(top.description("home/deep/new").0, 0o755);
    assert_eq!(top.description("both"), (0o711, 7, 8, 1000));
    assert_eq!(top.description("both/more").0, 0o755);
    assert_eq!(
        top.description("stated").0,
        0o750,
        "what the layer says itself counts"
    );
}

#[test]
fn an_implied_directory_takes_nothing_from_what_is_hidden_or_no_directory() {
    let (bottom, middle, top) = (Place::new(), Place::new(), Place::new());
    let names = [
        "white",
        "opaque/in",
        "file",
        "link",
        "own-white",
        "own-opaque/in",
        "deep/white/in",
    ];
    let tar = names
        .iter()
        .fold(Tar::default().directory("target", "0000700"), |tar, name| {
            owned(tar, name, "0000700", 9)
        });
    bottom.unpack(tar);
    middle.unpack_on(
        &[&bottom],
        Tar::default()
            .file(".wh.white", "")
            .file("opaque/.wh..wh..opq", "")
            .file("file", "")
            .symlink("link", "target")
            .file("deep/.wh.white", ""),
    );
    let tar = names
        .iter()
        .fold(Tar::default(), |tar, name| tar.file(&format!("{name}/x"), ""));
    top.unpack_on(
        &[&middle, &bottom],
        tar.file(".wh.own-white", "")
            .file("own-opaque/.wh..wh..opq", "")
            .file("gone/in/x", "")
            .file("gone", "a file at last"),
    );
    for name in names {
        let (mode, uid, gid, _) = top.description(name);
        assert_eq!((mode, uid, gid), (0o755, 0, 0), "{name}");
    }
    assert_eq!(top.content("gone"), "a file at last");
}

#[test]
fn whiteouts_become_overlayfs_marks_and_markers_are_never_made() {
    let place = Place::new();
    let summary = place.unpack(
        Tar::default()
            .file(".wh.gone", "ignored content")
            .file("dir/.wh..wh..opq", "")
            .file("dir/kept", "1")
            .hard_link("dir/.wh.linked", ".wh..wh.aufs")
            .directory(".wh..wh.plnk", "0000700")
            .file(".wh..wh.plnk/1.2", "")
            .device("raw", b'3', 0, 0),
    );
    assert!(!summary.opaque);
    assert_eq!(place.names(), ["dir", "gone", "raw"]);
    assert!(place.is_whiteout("gone") && place.is_whiteout("dir/linked") && place.is_whiteout("raw"));
    assert!(place.is_opaque("dir") && !place.is_opaque("."));
    assert_eq!(place.content("dir/kept"), "1");
}

#[test]
fn a_whiteout_beside_a_new_entry_hides_only_the_layers_below_in_any_order() {
    let place = Place::new();
    place.unpack(
        Tar::default()
            .file(".wh.file-after", "")
            .file("file-after", "1")
            .file("file-before", "2")
            .file(".wh.file-before", "")
            .file(".wh.dir-after", "")
            .directory("dir-after", "0000755")
            .directory("dir-before", "0000755")
            .file(".wh.dir-before", "")
            .file(".wh.implied", "")
            .file("implied/file", "3"),
    );
    assert_eq!(
        (place.content("file-after"), place.content("file-before")),
        ("1".into(), "2".into())
    );
    for name in ["dir-after", "dir-before", "implied"] {
        assert!(place.metadata(name).is_dir() && place.is_opaque(name), "{name}");
    }
    assert_eq!(place.content("implied/file"), "3");
}

#[test]
fn a_layer_that_hides_everything_below_says_so() {
    let place = Place::new();
    assert!(
        place
            .unpack(Tar::default().file(".wh..wh..opq", "").file("a", ""))
            .opaque
    );
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn extended_attributes_are_set_but_those_of_the_host_and_of_overlayfs_are_not() {
    let place = Place::new();
    // VFS_CAP_REVISION_2 with CAP_NET_RAW permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    place.unpack(
        Tar::default()
            .pax(&[
                ("SCHILY.xattr.security.capability", &capability),
                ("SCHILY.xattr.user.note", b"a\0b"),
                ("SCHILY.xattr.trusted.note", b"t"),
                ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                ("SCHILY.xattr.security.selinux", b"label"),
                ("uid", b"1000"),
            ])
            .file("ping", "content")
            .pax(&[
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                ("SCHILY.xattr.user.note", b"d"),
            ])
            .directory("dir", "0000755")
            .pax(&[
                ("SCHILY.xattr.user.note", b"no"),
                ("SCHILY.xattr.trusted.note", b"yes"),
            ])
            .symlink("link", "ping"),
    );
    assert_eq!(
        place.xattr("ping", "security.capability").as_deref(),
        Some(capability.as_slice())
    );
    assert_eq!(
        place.xattr("ping", "user.note").as_deref(),
        Some(b"a\0b".as_slice())
    );
    assert_eq!(
        place.xattr("ping", "trusted.note").as_deref(),
        Some(b"t".as_slice())
    );
    assert_eq!(place.xattr("ping", "trusted.overlay.redirect"), None);
    assert_eq!(place.xattr("ping", "security.selinux"), None);
    assert!(!place.is_opaque("dir"));
    assert_eq!(place.xattr("dir", "user.note").as_deref(), Some(b"d".as_slice()));
    assert_eq!(
        place.xattr("link", "trusted.note").as_deref(),
        Some(b"yes".as_slice())
    );
}

#[test]
fn long_names_of_both_formats_are_read() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let target = "t".repeat(300);
    place.unpack(
        Tar::default()
            .pax(&[("path", long.as_bytes())])
            .file("short", "pax")
            .entry("././@LongLink", b'L', "", format!("{long}-gnu\0").as_bytes())
            .entry("././@LongLink", b'K', "", format!("{target}\0").as_bytes())
            .symlink("short", "short")
            .entry("global", b'g', "", b"16 comment=hello")
            .raw(b"leaf", b'0', b"", b"prefix", |header| {
                header[345..350].copy_from_slice(b"a/b/c")
            })
            .pax(&[("size", b"3"), ("path", b"\xff\xfe")])
            .file("x", "abc"),
    );
    assert_eq!(place.content(&long), "pax");
    assert_eq!(
        std::fs::read_link(place.path(&format!("{long}-gnu"))).expect("a link"),
        Path::new(&target)
    );
    assert_eq!(place.content("a/b/c/leaf"), "prefix");
    assert!(place.path("").join(OsStr::from_bytes(b"\xff\xfe")).exists());
}

#[test]
fn the_later_of_two_entries_wins() {
    let place = Place::new();
    place.unpack(
        Tar::default()
            .file("a", "old")
            .file("a", "new")
            .directory("b", "0000700")
            .file("b/inside/deep", "x")
            .file("b", "file")
            .file("c", "file")
            .directory("c", "0000700")
            .directory("d", "0000700")
            .file("d/kept", "kept")
            .directory("d", "0000750")
            .symlink("e", "d")
            .directory("e", "0000755")
            .file("e/own", "own")
            .symlink("f", "d/kept")
            .file("f", "no longer a link"),
    );
    assert_eq!(
        (place.content("a"), place.content("b")),
        ("new".into(), "file".into())
    );
    assert!(place.metadata("c").is_dir());
    assert_eq!(
        (place.metadata("d").mode() & 0o7777, place.content("d/kept")),
        (0o750, "kept".into())
    );
    assert!(place.metadata("e").is_dir() && !place.path("d/own").exists());
    assert_eq!(place.content("f"), "no longer a link");
}

#[test]
fn parents_may_be_links_that_stay_in_the_layer() {
    let place = Place::new();
    place.unpack(
        Tar::default()
            .directory("usr/lib", "0000755")
            .symlink("lib", "usr/lib")
            .symlink("abs", "/usr/lib")
            .symlink("usr/up", "../usr/./lib/")
            .file("lib/one", "1")
            .file("abs/two/file", "2")
            .file("usr/up/three", "3")
            .hard_link("linked", "lib/one")
            .directory("lib/four", "0000755"),
    );
    assert_eq!(place.content("usr/lib/one"), "1");
    assert_eq!(place.content("usr/lib/two/file"), "2");
    assert_eq!(place.content("usr/lib/three"), "3");
    assert_eq!(place.content("linked"), "1");
    assert_eq!(place.metadata("usr/lib/four").mtime(), 1000);
}

#[test]
fn whatever_could_leave_the_layer_is_refused_by_name() {
    let outside = |link: &str| Tar::default().symlink("evil", link).file("evil/owned", "x");
    for (what, tar) in [
        ("absolute", Tar::default().file("/etc/evil", "x")),
        ("up", Tar::default().file("../evil", "x")),
        ("inner up", Tar::default().file("a/../../evil", "x")),
        ("link out", outside("../../../../tmp")),
        ("link up", outside("..")),
        ("link to the host's /tmp", outside("/tmp")),
        ("link to the host's /proc", outside("/proc/self/root/evil")),
        (
            "through two links",
            Tar::default()
                .symlink("a", "..")
                .symlink("evil", "a/..")
                .file("evil/owned", ""),
        ),
        (
            "endless links",
            Tar::default()
                .symlink("evil", "b")
                .symlink("b", "evil")
                .file("evil/owned", ""),
        ),
        (
            "absolute hard link",
            Tar::default().hard_link("evil", "/etc/passwd"),
        ),
        ("hard link up", Tar::default().hard_link("evil", "../sentinel")),
        (
            "hard link through a link",
            Tar::default()
                .symlink("l", "../..")
                .hard_link("evil", "l/etc/passwd"),
        ),
        (
            "hard link through an absolute link",
            Tar::default().symlink("l", "/etc").hard_link("evil", "l/passwd"),
        ),
        (
            "directory out",
            Tar::default()
                .symlink("evil", "../..")
                .directory("evil/owned", "0000777"),
        ),
        (
            "whiteout out",
            Tar::default().symlink("evil", "..").file("evil/.wh.sentinel", ""),
        ),
        (
            "opaque out",
            Tar::default().symlink("evil", "..").file("evil/.wh..wh..opq", ""),
        ),
        ("whiteout of the parent", Tar::default().file("evil/.wh...", "")),
        (
            "pax path up",
            Tar::default().pax(&[("path", b"../evil")]).file("good", ""),
        ),
        (
            "long name up",
            Tar::default().entry("L", b'L', "", b"../evil\0").file("good", ""),
        ),
    ] {
        let error = refusal(tar);
        assert_eq!(error.code, "image-unsafe", "{what}: {error}");
        assert!(error.message.contains("evil"), "{what}: {error}");
    }
}

#[test]
fn what_is_no_sound_layer_is_refused_by_name() {
    for (named, tar) in [
        ("bad", Tar::default().file("a", "").file("a/bad", "")),
        ("bad", Tar::default().hard_link("bad", "later").file("later", "")),
        (
            "bad",
            Tar::default().directory("d", "0000755").hard_link("bad", "d"),
        ),
        ("bad", Tar::default().file(".wh.w", "").hard_link("bad", "w")),
        ("bad", Tar::default().symlink("bad", "")),
        ("bad", Tar::default().entry("bad", b'S', "", b"")),
        (
            "bad",
            Tar::default().pax(&[("GNU.sparse.major", b"1")]).file("bad", "x"),
        ),
        ("bad", Tar::default().entry("bad", b'?', "", b"")),
        ("bad", Tar::default().device("bad", b'3', 0o777_7777, 0)),
        (
            "bad",
            Tar::default().raw(b"bad", b'0', b"", b"", |header| header[124..136].fill(b'9')),
        ),
        (
            "bad",
            Tar::default().raw(b"bad", b'0', b"", b"", |header| header[108..116].fill(0xff)),
        ),
        ("root", Tar::default().symlink("./", "x")),
        ("bad/", Tar::default().file("bad/", "x")),
        ("255", Tar::default().pax(&[("path", &[b'n'; 256])]).file("x", "")),
        (
            "pax",
            Tar::default().entry("bad", b'x', "", b"12 path").file("x", ""),
        ),
        ("bad/.wh.x", Tar::default().file("bad/.wh.x/y", "")),
    ] {
        let error = refusal(tar);
        assert!(
            ["image-invalid", "image-unsafe"].contains(&error.code),
            "{error:?}"
        );
        assert!(error.message.contains(named), "{named}: {error}");
    }
}

#[test]
fn damaged_and_truncated_streams_are_refused() {
    let whole = Tar::default().file("a", &"x".repeat(2000)).file("b", "y").end();
    for length in [1, 511, 513, 600, 2000] {
        assert!(
            refusal_within(&whole[..length], Limits::default())
                .message
                .contains("ends in the middle")
        );
    }
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    assert!(
        refusal_within(&damaged, Limits::default())
            .message
            .contains("checksum")
    );
    assert!(
        refusal_within(&[0x1f, 0x8b].repeat(512), Limits::default())
            .message
            .contains("checksum")
    );
    let dangling = Tar::default().pax(&[("path", b"x")]);
    assert!(refusal(dangling).message.contains("ends in the middle"));
    // Streams without an end mark, or without anything, are whole.
    let place = Place::new();
    assert_eq!(
        place
            .unpack_within(&whole[..whole.len() - 1024], Limits::default())
            .expect("whole")
            .entries,
        2
    );
    let summary = Place::new().unpack_within(&[], Limits::default()).expect("empty");
    assert_eq!(
        summary,
        Summary {
            entries: 0,
            bytes: 0,
            opaque: false
        }
    );
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let limits = Limits {
        max_bytes: 10_000,
        max_entries: 20,
    };
    let many = (0..21).fold(Tar::default(), |tar, number| tar.file(&format!("f{number}"), ""));
    let deep = Tar::default().file(&"d/".repeat(40), "").end();
    let huge = Tar::default().raw(b"huge", b'0', b"", b"", |header| {
        header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    });
    let pax = Tar::default().raw(b"x", b'x', b"", b"", |header| {
        header[124..135].copy_from_slice(b"77777777777")
    });
    let xattrs = Tar::default()
        .pax(&[("SCHILY.xattr.user.a", &[0; 9000])])
        .file("one", &"x".repeat(1500));
    let whiteout = Tar::default().file(".wh.a", &"x".repeat(10_001));
    let trailing = [Tar::default().file("a", "").end(), vec![0; 20_000]].concat();
    for (tar, named) in [
        (many.end(), "20 entries"),
        (deep, "20 entries"),
        (huge.end(), "huge"),
        (pax.end(), "extended header"),
        (xattrs.end(), "one"),
        (whiteout.end(), "10000 bytes"),
        (trailing, "10000 bytes"),
    ] {
        let error = refusal_within(&tar, limits);
        assert_eq!(error.code, "image-unsafe", "{named}: {error}");
        assert!(error.message.contains(named), "{named}: {error}");
    }
    let records = b"5 a=\n".repeat(100_000);
    assert_eq!(
        Place::new()
            .unpack(Tar::default().entry("x", b'x', "", &records).file("f", ""))
            .entries,
        2
    );
}

#[test]
fn a_tree_deeper_than_a_stack_is_emptied_again() {
    // Each name is as deep as a name can be and goes on where a link to the one before ends.
    let deep = "d/".repeat(1900);
    let mut tar = Tar::default();
    for level in 0..5 {
        let parent = if level == 0 {
            String::new()
        } else {
            format!("l{}/", level - 1)
        };
        let name = format!("{parent}{deep}");
        tar = tar.pax(&[("path", name.as_bytes())]).directory("x", "0000755");
        tar = tar
            .pax(&[("linkpath", name.as_bytes())])
            .symlink(&format!("l{level}"), "x");
    }
    let error = refusal(tar.file("../evil", ""));
    assert!(error.message.contains("evil"), "{error}");
}

#[test]
fn a_directory_that_is_not_empty_is_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.path("mine"), "").expect("a file");
    let error = place
        .unpack_within(&Tar::default().file("a", "").end(), Limits::default())
        .expect_err("not empty");
    assert!(error.message.contains("empty"), "{error}");
    assert_eq!(place.names(), ["mine"]);
}

#[test]
fn a_directory_of_a_locked_owner_takes_entries() {
    let place = Place::new();
    place.unpack(
        Tar::default()
            .directory("locked", "0000000")
            .file("locked/file", "x"),
    );
    assert_eq!(place.metadata("locked").permissions().mode() & 0o777, 0);
    assert_eq!(place.content("locked/file"), "x");
}

/// Mutated layers: no panic, nothing outside touched (checked by `Place`), and after an error nothing inside.
#[test]
fn no_mutation_of_a_layer_leaves_its_directory() {
    let seed = Tar::default()
        .directory("dir", "0000755")
        .symlink("up", "..")
        .symlink("abs", "/tmp")
        .file("dir/file", "content")
        .pax(&[
            ("path", b"dir/long"),
            ("SCHILY.xattr.user.a", b"b"),
            ("mtime", b"1.5"),
        ])
        .file("x", "abc")
        .hard_link("hard", "dir/file")
        .file("dir/.wh.gone", "")
        .entry("L", b'L', "", b"dir/gnu\0")
        .device("null", b'3', 1, 3)
        .end();
    let (mut state, mut accepted) = (0x9e37_79b9_7f4a_7c15u64, 0);
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..1500 {
        let mut tar = seed.clone();
        for _ in 0..1 + random(6) {
            let at = random(tar.len());
            match random(4) {
                0 => tar[at] = b"./\0\xff0 7-"[random(8)],
                1 => tar[at] ^= 1 << random(8),
                2 => tar.truncate(at),
                _ => {
                    // Another header in this one's place.
                    let (from, to) = (random(tar.len() / 512 + 1) * 512, at / 512 * 512);
                    if from + 512 <= tar.len() && to + 512 <= tar.len() {
                        tar.copy_within(from..from + 512, to);
                    }
                }
            }
            if tar.is_empty() {
                break;
            }
        }
        repair_checksums(&mut tar);
        let place = Place::new();
        match place.unpack_within(
            &tar,
            Limits {
                max_bytes: 1 << 20,
                max_entries: 100,
            },
        ) {
            Ok(_) => accepted += 1,
            Err(_) => assert_eq!(place.names(), Vec::<String>::new()),
        }
    }
    assert!(accepted > 100, "mutations that reach the file system: {accepted}");
}

/// Makes whatever looks like a header pass its checksum, so that mutations get further than that.
fn repair_checksums(tar: &mut [u8]) {
    for block in tar
        .chunks_exact_mut(512)
        .filter(|block| &block[257..262] == b"ustar")
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

#[test]
fn names_are_bytes() {
    let place = Place::new();
    place.unpack(Tar::default().raw(b"\x80\xff name\n", b'0', b"", b"", |_| {}));
    let names: Vec<Vec<u8>> = std::fs::read_dir(place.path(""))
        .expect("the layer")
        .map(|entry| entry.expect("an entry").file_name().into_vec())
        .collect();
    assert_eq!(names, [b"\x80\xff name\n".to_vec()]);
}
