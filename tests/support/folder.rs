//! Folders of their own for servers under test, and the reaper that clears up when the tests end, however they end.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, Once};

use cairn_actors::testing::folder as testing;
pub use cairn_actors::testing::folder::keep_evidence;

/// A folder below Cargo's folder for tests; it goes as [`testing::Folder`] does.
pub struct Folder(testing::Folder);

impl Folder {
    /// Makes it, and removes what earlier runs left.
    pub fn new(name: &str) -> Self {
        static SWEPT: Once = Once::new();
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        SWEPT.call_once(|| sweep(root));
        Self(testing::Folder::below(root, name))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
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
        processes=
        while read -r word thing; do
            case $word in
                begun) processes="$processes $thing" ;;
                ended) left= ; for p in $processes; do [ "$p" = "$thing" ] || left="$left $p"; done; processes=$left ;;
            esac
        done
        [ -z "$processes" ] || kill -9 $processes
    "#;
    #[allow(clippy::zombie_processes, reason = "it outlives this process: that is what it is for")]
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
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
