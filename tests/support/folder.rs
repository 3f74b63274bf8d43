//! Folders of their own for servers under test, and the reaper that clears up when the tests end, however they end.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

/// A folder that is removed with its owner, unless a test is failing: then it stays to be looked at.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes `cairn-<process>-<number>-<name>` below Cargo's folder for tests.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        if NEXT.load(Ordering::Relaxed) == 0 {
            sweep(root);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("cairn-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Set when a test failed on another thread than the one that will drop the folder.
static EVIDENCE: AtomicBool = AtomicBool::new(false);

/// Has the folders stay, to be looked at.
pub fn keep_evidence() {
    EVIDENCE.store(true, Ordering::Relaxed);
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() && !EVIDENCE.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Removes what earlier runs left: folders whose process is gone.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_string_lossy().strip_prefix("cairn-").and_then(|rest| {
            rest.split('-').next().filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned)
        });
        if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A shell that reads what was started from a pipe. When this process ends, by whatever cause, the pipe closes and
/// the shell ends what is left. (Servers that all tests share live in statics, and statics are never dropped.)
static REAPER: LazyLock<Mutex<ChildStdin>> = LazyLock::new(|| {
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        processes= ; clusters=
        while read -r word thing; do
            case $word in
                begun) processes="$processes $thing" ;;
                ended) left= ; for p in $processes; do [ "$p" = "$thing" ] || left="$left $p"; done; processes=$left ;;
                cluster) clusters="$clusters $thing" ;;
            esac
        done
        [ -z "$processes" ] || kill -9 $processes
        for c in $clusters; do scripts/postgres.sh stop "$c"; done
    "#;
    #[allow(clippy::zombie_processes, reason = "it outlives this process: that is what it is for")]
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell to clear up");
    Mutex::new(child.stdin.take().unwrap())
});

fn tell_reaper(word: &str, thing: &str) {
    let mut reaper = REAPER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    writeln!(reaper, "{word} {thing}").expect("the reaper reads");
}

/// Registers a process to be killed with these tests.
pub fn process_begun(id: u32) {
    tell_reaper("begun", &id.to_string());
}

/// Strikes it off: it has been waited for, and its number may be somebody else's next.
pub fn process_ended(id: u32) {
    tell_reaper("ended", &id.to_string());
}

/// Registers a folder of `scripts/postgres.sh` to be stopped and removed with these tests.
pub fn cluster_begun(folder: &Path) {
    tell_reaper("cluster", folder.to_str().unwrap());
}
