//! `tripod-warden unpack` as a program: its confinement, its answers, and layers as other tools write them.
//! Needs root and GNU tar.

use serde_json::Value;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tripod-warden");

struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tripod-unpack-it-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let place = Place(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&place.0).expect("a directory");
        place
    }

    /// A directory of that name, made.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in [c"merged", c"small"] {
            let path = [
                self.0.as_os_str().as_encoded_bytes(),
                b"/",
                name.to_bytes_with_nul(),
            ]
            .concat();
            // SAFETY: the path is NUL-terminated; where nothing is mounted this fails and does nothing.
            unsafe { libc::umount2(path.as_ptr().cast(), libc::MNT_DETACH) };
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(into: &Path, input: Stdio, more: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(["unpack", "--into"])
        .arg(into)
        .args(more)
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// The one line of the answer, and the exit status.
fn finish(child: Child) -> (Value, Option<i32>) {
    let output = child.wait_with_output().expect("the program ends");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        text.matches('\n').count(),
        1,
        "one line: {text:?} {:?}",
        output.status
    );
    (serde_json::from_str(&text).expect("JSON"), output.status.code())
}

fn unpack(into: &Path, tar: &Path) -> Value {
    let (answer, code) = finish(start(into, File::open(tar).expect("the tar").into(), &[]));
    assert_eq!(code, Some(0), "{answer}");
    answer["ok"].clone()
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .expect("the program runs");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test is text")
}

/// What a tree is, entry by entry: name, kind, mode, owner, size, time, target, links.
fn describe(root: &Path, parts_of_seconds: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).expect("an entry");
        let target = std::fs::read_link(&path).unwrap_or_default();
        let kind = metadata.file_type();
        let size = if kind.is_file() { metadata.len() } else { 0 };
        let links = if kind.is_dir() { 0 } else { metadata.nlink() };
        let content = if kind.is_file() {
            std::fs::read(&path).expect("content")
        } else {
            Vec::new()
        };
        let sum = content.iter().fold(7u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add((*byte).into())
        });
        lines.push(format!(
            "{} {:o} {}:{} {size} {}.{} {} {links} {} {sum}",
            path.strip_prefix(root).expect("beneath").display(),
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            if parts_of_seconds {
                metadata.mtime_nsec()
            } else {
                0
            },
            target.display(),
            metadata.rdev(),
        ));
        if kind.is_dir() {
            pending.extend(
                std::fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
        }
    }
    lines.sort();
    lines
}

/// A tree with one of everything that an archive of any format can hold.
fn make_tree(root: &Path) {
    let long = "a-long-part/".repeat(12);
    std::fs::create_dir_all(root.join(&long)).expect("directories");
    std::fs::create_dir_all(root.join("empty")).expect("a directory");
    std::fs::write(root.join(&long).join("file"), vec![b'x'; 70_000]).expect("a file");
    std::fs::write(root.join("su"), "program").expect("a file");
    std::os::unix::fs::chown(root.join("su"), Some(1234), Some(65_000)).expect("chown");
    std::fs::set_permissions(root.join("su"), Permissions::from_mode(0o6755)).expect("chmod");
    std::fs::hard_link(root.join("su"), root.join("su-too")).expect("a link");
    symlink("/su", root.join("abs")).expect("a link");
    std::fs::set_permissions(root.join("empty"), Permissions::from_mode(0o1777)).expect("chmod");
    run("mknod", &[text(&root.join("tty")), "c", "5", "1"]);
    run("mkfifo", &[text(&root.join("pipe"))]);
}

#[test]
fn archives_of_every_format_of_tar_come_out_as_they_went_in() {
    let place = Place::new();
    let source = place.directory("source");
    make_tree(&source);
    for format in ["gnu", "pax", "ustar"] {
        let (tar, into) = (place.0.join(format!("{format}.tar")), place.directory(format));
        run("touch", &["-d", "2001-02-03 04:05:06", text(&source)]);
        run(
            "tar",
            &[
                "-C",
                text(&source),
                "--numeric-owner",
                &format!("--format={format}"),
                "-cf",
                text(&tar),
                ".",
            ],
        );
        let ok = unpack(&into, &tar);
        assert!(ok["bytes"].as_u64() >= Some(70_007), "{ok}");
        // Only pax knows parts of seconds.
        let has_parts = format == "pax";
        assert_eq!(
            describe(&source, has_parts),
            describe(&into, has_parts),
            "{format}"
        );
    }
}

#[test]
fn overlayfs_shows_what_the_layers_mean() {
    let place = Place::new();
    let (below, above) = (place.directory("below"), place.directory("above"));
    for path in ["gone", "kept", "dir/old", "replaced/old", "opaque/old"] {
        std::fs::create_dir_all(below.join(path).parent().expect("a parent")).expect("directories");
        std::fs::write(below.join(path), "below").expect("a file");
    }
    for path in [
        ".wh.gone",
        "dir/.wh.old",
        "dir/new",
        ".wh.replaced",
        "replaced/new",
        "opaque/.wh..wh..opq",
        "opaque/new",
    ] {
        std::fs::create_dir_all(above.join(path).parent().expect("a parent")).expect("directories");
        std::fs::write(above.join(path), "above").expect("a file");
    }
    let lowers: Vec<PathBuf> = [&above, &below]
        .iter()
        .enumerate()
        .map(|(number, source)| {
            let (tar, into) = (
                place.0.join(format!("{number}.tar")),
                place.directory(&format!("layer{number}")),
            );
            run("tar", &["-C", text(source), "-cf", text(&tar), "."]);
            unpack(&into, &tar);
            into
        })
        .collect();
    let merged = place.directory("merged");
    let options = format!("lowerdir={}:{}", lowers[0].display(), lowers[1].display());
    run(
        "mount",
        &["-t", "overlay", "overlay", "-o", &options, text(&merged)],
    );
    let mut names: Vec<String> = describe(&merged, false)
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().into())
        .collect();
    names.retain(|name| !name.is_empty());
    assert_eq!(
        names,
        [
            "dir",
            "dir/new",
            "kept",
            "opaque",
            "opaque/new",
            "replaced",
            "replaced/new"
        ]
    );
}

#[test]
fn what_a_layer_implies_is_taken_from_the_layers_below_inside_the_confinement() {
    let place = Place::new();
    let (bottom, between, into) = (
        place.directory("bottom"),
        place.directory("between"),
        place.directory("into"),
    );
    let (home, tar) = (bottom.join("home"), place.0.join("top.tar"));
    std::fs::create_dir(&home).expect("a directory");
    std::os::unix::fs::chown(&home, Some(1000), Some(1001)).expect("chown");
    std::fs::set_permissions(&home, Permissions::from_mode(0o1770)).expect("chmod");
    rustix::fs::setxattr(&home, "user.colour", b"blue", rustix::fs::XattrFlags::empty()).expect("setxattr");
    let source = place.directory("source/home");
    std::fs::write(source.join("x"), "x").expect("a file");
    let source = place.directory("source");
    run("tar", &["-C", text(&source), "-cf", text(&tar), "home/x"]);
    let lowers = ["--lower", text(&between), "--lower", text(&bottom)];
    let (answer, code) = finish(start(&into, File::open(&tar).expect("the tar").into(), &lowers));
    assert_eq!(code, Some(0), "{answer}");
    let metadata = std::fs::metadata(into.join("home")).expect("the directory");
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o1770, 1000, 1001)
    );
    let mut colour = [0; 4];
    assert_eq!(
        rustix::fs::getxattr(into.join("home"), "user.colour", &mut colour),
        Ok(4)
    );
    assert_eq!(&colour, b"blue");
}

#[test]
fn the_process_has_nothing_but_its_directory_and_a_view_of_the_layers_below() {
    let place = Place::new();
    let (into, lower) = (place.directory("into"), place.directory("lower"));
    // An fd of the caller that a careless exec would hand down.
    let secret = File::create(place.0.join("secret")).expect("a file");
    // SAFETY: dup makes a copy without CLOEXEC, of an fd that is open; it is closed below.
    let leaked = unsafe { libc::dup(secret.as_raw_fd()) };
    let child = start(
        &into,
        Stdio::piped(),
        &["--max-bytes", "4096", "--lower", text(&lower)],
    );
    // SAFETY: `leaked` was made above and nobody else knows it.
    unsafe { libc::close(leaked) };
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let status = wait_for(|| {
        let status = std::fs::read_to_string(proc.join("status")).ok()?;
        status.contains("Seccomp:\t2").then_some(status)
    });
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        line.trim_start_matches(':').trim().to_string()
    };
    // CHOWN DAC_OVERRIDE FOWNER FSETID SYS_ADMIN MKNOD SETFCAP
    let kept = 1u64 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 21 | 1 << 27 | 1 << 31;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(u64::from_str_radix(&field(set), 16), Ok(kept), "{set}");
    }
    assert_eq!(
        (field("CapInh"), field("CapAmb")),
        ("0".repeat(16), "0".repeat(16))
    );
    assert_eq!(
        (field("NoNewPrivs").as_str(), field("Threads").as_str()),
        ("1", "1")
    );
    let identity = |path: PathBuf| {
        std::fs::metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .expect("metadata")
    };
    assert_eq!(
        identity(proc.join("root")),
        identity(into.clone()),
        "the directory is the root"
    );
    assert_eq!(
        std::fs::read_to_string(proc.join("mounts"))
            .expect("mounts")
            .lines()
            .count(),
        1,
        "one mount is all"
    );
    for namespace in ["mnt", "net", "ipc", "uts", "cgroup"] {
        let of = |who: &Path| std::fs::read_link(who.join("ns").join(namespace)).expect("a namespace");
        assert_ne!(of(&proc), of(Path::new("/proc/self")), "{namespace}");
    }
    let mut views = 0;
    for entry in std::fs::read_dir(proc.join("fd")).expect("fds") {
        let entry = entry.expect("an fd");
        let target = std::fs::read_link(entry.path()).expect("an fd");
        assert!(!text(&target).contains("secret"), "{target:?} was handed down");
        if identity(entry.path()) == identity(lower.clone()) {
            views += 1;
            let up = entry.path().join("..");
            assert_eq!(identity(up), identity(lower.clone()), "nothing is above it");
            let written = File::create(entry.path().join("new")).expect_err("read-only");
            assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        }
    }
    assert_eq!(views, 1);
    let limits = std::fs::read_to_string(proc.join("limits")).expect("limits");
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max file size") && line.contains("4096")),
        "{limits}"
    );
    let (answer, code) = finish(child_without_input(child));
    assert_eq!(
        (answer["ok"]["entries"].as_u64(), code),
        (Some(0), Some(0)),
        "{answer}"
    );
}

fn child_without_input(mut child: Child) -> Child {
    drop(child.stdin.take());
    child
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "what was waited for never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn refusals_are_one_line_with_code_and_status_and_leave_nothing() {
    let place = Place::new();
    let into = place.directory("into");
    let source = place.directory("source");
    std::fs::write(source.join("big"), vec![1; 20_000]).expect("a file");
    let tar = place.0.join("layer.tar");
    run(
        "tar",
        &[
            "-C",
            text(&source),
            "-cf",
            text(&tar),
            "--transform=s,^big$,../big,",
            "-P",
            "big",
        ],
    );
    let refused = |into: &Path, more: &[&str]| {
        let (answer, code) = finish(start(into, File::open(&tar).expect("the tar").into(), more));
        assert_eq!(code, Some(1), "{answer}");
        (
            answer["error"]["code"].as_str().unwrap_or_default().to_string(),
            answer["error"]["message"].to_string(),
        )
    };
    let (code, message) = refused(&into, &[]);
    assert!(
        code == "image-unsafe" && message.contains("../big"),
        "{code} {message}"
    );
    assert_eq!(refused(&into, &["--quick"]).0, "usage");
    assert_eq!(refused(&place.0.join("missing"), &[]).0, "state-unwritable");
    symlink(&into, place.0.join("link")).expect("a link");
    assert_eq!(refused(&place.0.join("link"), &[]).0, "state-unwritable");
    assert_eq!(refused(&source, &[]).0, "usage");
    assert!(
        source.join("big").exists(),
        "a directory that was not empty is left alone"
    );
    assert_eq!(std::fs::read_dir(&into).expect("the directory").count(), 0);
    assert!(!place.0.join("big").exists());
}

#[test]
fn a_full_disk_is_told_as_such_and_the_directory_is_empty_again() {
    let place = Place::new();
    let (small, source) = (place.directory("small"), place.directory("source"));
    run("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", text(&small)]);
    std::fs::write(source.join("a"), vec![1; 20_000]).expect("a file");
    std::fs::write(source.join("b"), vec![1; 90_000]).expect("a file");
    let tar = place.0.join("layer.tar");
    run("tar", &["-C", text(&source), "-cf", text(&tar), "a", "b"]);
    let into = small.join("into");
    std::fs::create_dir(&into).expect("a directory");
    let (answer, code) = finish(start(&into, File::open(&tar).expect("the tar").into(), &[]));
    assert_eq!(
        (answer["error"]["code"].as_str(), code),
        (Some("disk-full"), Some(1)),
        "{answer}"
    );
    assert_eq!(std::fs::read_dir(&into).expect("the directory").count(), 0);
}

#[test]
fn many_directories_fit_into_the_memory_that_is_left() {
    let place = Place::new();
    let into = place.directory("into");
    let mut child = start(&into, Stdio::piped(), &[]);
    let mut input = child.stdin.take().expect("standard input");
    for number in 0..20_000u32 {
        let mut header = [0u8; 512];
        let name = format!("{}/{number}/", number % 100);
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[156] = b'5';
        header[100..107].copy_from_slice(b"0000755");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        input.write_all(&header).expect("the program reads on");
    }
    drop(input);
    let (answer, _) = finish(child);
    assert_eq!(answer["ok"]["entries"].as_u64(), Some(20_100), "{answer}");
    assert!(std::fs::symlink_metadata(into.join("99/19999")).is_ok_and(|metadata| metadata.mtime() == 0));
    assert!(
        !std::fs::symlink_metadata(into.join("0"))
            .expect("a directory")
            .file_type()
            .is_char_device()
    );
}
