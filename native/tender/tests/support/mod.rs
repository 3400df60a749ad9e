//! What the tender's tests share: guests that are built, runs with a deadline, and skips that are on a list.

#![allow(dead_code)] // each test program uses its part

pub mod elf;
pub mod frames;

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const ABIS: [&str; 2] = ["hvt", "spt"];
const DEADLINE: Duration = Duration::from_secs(30);

/// The tender under test: `TRIPOD_TENDER`, or the one that cargo built with the tests.
pub fn tender() -> PathBuf {
    std::env::var_os("TRIPOD_TENDER")
        .map_or_else(|| env!("CARGO_BIN_EXE_tripod-tender").into(), PathBuf::from)
}

/// The path of a test guest: in `TRIPOD_GUESTS`, or after all of them have been built.
pub fn guest(name: &str, abi: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os("TRIPOD_GUESTS") {
            return folder.into();
        }
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()
            .expect("the tree");
        let built = Command::new(tree.join("script/build-guests"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .output()
            .expect("script/build-guests runs");
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        tree.join("build/guests")
    });
    folder.join(format!("{name}.{abi}"))
}

/// How a run ended. `status` is as a shell says it: the exit status, or 128 + signal.
#[derive(Debug)]
pub struct Outcome {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A tender that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// Starts the tender with these descriptors inherited under the same numbers.
pub fn start<S: AsRef<OsStr>>(args: &[S], inherited: &[&OwnedFd]) -> Running {
    let fds: Vec<RawFd> = inherited.iter().map(|fd| fd.as_raw_fd()).collect();
    let mut command = Command::new(tender());
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec only fcntl is called, on descriptors that are open.
    unsafe {
        command.pre_exec(move || {
            for &fd in &fds {
                if libc::fcntl(fd, libc::F_SETFD, 0) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let mut child = command.spawn().expect("the tender starts");
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    Running {
        child,
        stdout,
        stderr,
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

impl Running {
    pub fn id(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: our own child, not waited for yet.
        assert_eq!(unsafe { libc::kill(self.id(), signal) }, 0);
    }

    /// Waits for its end; a run that takes longer than the deadline fails the test.
    pub fn end(mut self) -> Outcome {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("waiting") {
                break status;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "the guest still runs after {DEADLINE:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut text = |which: fn(&mut Running) -> Option<JoinHandle<Vec<u8>>>| {
            let bytes = which(&mut self)
                .map(|thread| thread.join().expect("a reader"))
                .unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(|run| run.stdout.take()), text(|run| run.stderr.take()));
        let status = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Outcome {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the tender to its end.
pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Outcome {
    start(args, &[]).end()
}

/// Runs a guest with options before it and arguments after.
pub fn run_guest(options: &[&str], name: &str, abi: &str, args: &[&str]) -> Outcome {
    let kernel = guest(name, abi);
    let mut words: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
    words.push(kernel.as_os_str());
    words.extend(args.iter().map(OsStr::new));
    run(&words)
}

impl Outcome {
    #[track_caller]
    pub fn expect(&self, status: i32, stdout: &str) -> &Outcome {
        assert_eq!(self.status, status, "{self:#?}");
        assert!(self.stdout.contains(stdout), "no {stdout:?} in {self:#?}");
        self
    }

    #[track_caller]
    pub fn says(&self, stderr: &str) -> &Outcome {
        assert!(self.stderr.contains(stderr), "no {stderr:?} in {self:#?}");
        self
    }
}

/// What KVM can do here, as the tender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kvm {
    None,
    Tiny,
    Linux,
}

pub fn kvm() -> (Kvm, &'static str) {
    static KVM: OnceLock<(Kvm, String)> = OnceLock::new();
    let (kvm, said) = KVM.get_or_init(|| {
        let said = run(&["probe-kvm"]).stdout;
        let kvm = match said.split('"').nth(3) {
            Some("none") => Kvm::None,
            Some("tiny") => Kvm::Tiny,
            Some("linux") => Kvm::Linux,
            _ => panic!("probe-kvm said {said:?}"),
        };
        (kvm, said)
    });
    (*kvm, said.trim_end())
}

/// Whether a test that needs KVM can run. If not, says so, and fails where the skip is not on the list of those expected.
pub fn can(test: &str, needs: Kvm) -> bool {
    let (has, said) = kvm();
    if has >= needs {
        return true;
    }
    skip(
        test,
        &format!("kvm={}", format!("{needs:?}").to_lowercase()),
        said,
    );
    false
}

/// Notes a skip.
pub fn skip(test: &str, needs: &str, why: &str) {
    let expected = include_str!("../skips.txt")
        .lines()
        .any(|line| line == format!("{test} {needs}"));
    assert!(expected, "unexpected skip: {test} needs {needs}: {why}");
    // Not captured, unlike eprintln.
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("skip: {test} needs {needs}: {why}\n").as_bytes(),
    );
}

/// The ABIs that can run here.
pub fn abis(test: &str) -> Vec<&'static str> {
    ABIS.into_iter()
        .filter(|&abi| abi == "spt" || can(test, Kvm::Tiny))
        .collect()
}

/// A file of `size` bytes that is gone at the end.
pub struct TestFile(pub PathBuf);

impl TestFile {
    pub fn new(name: &str, size: u64) -> TestFile {
        let path = std::env::temp_dir().join(format!("tripod-tender-{}-{name}", std::process::id()));
        let file = std::fs::File::create(&path).expect("a file");
        file.set_len(size).expect("a size");
        TestFile(path)
    }

    pub fn holding(name: &str, bytes: &[u8]) -> TestFile {
        let file = TestFile::new(name, 0);
        std::fs::write(&file.0, bytes).expect("written");
        file
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path of ours")
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
