//! Folders of tests' own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A folder that is removed with its owner, unless a test is failing: then it stays to be looked at.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// Set when a test failed on another thread than the one that will drop the folder.
static EVIDENCE: AtomicBool = AtomicBool::new(false);

/// Has the folders stay, to be looked at.
pub fn keep_evidence() {
    EVIDENCE.store(true, Ordering::Relaxed);
}

impl Folder {
    /// Makes `cairn-<process>-<number>-<name>` below the temporary folder, which other users may enter.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Makes it below another folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn below(root: &Path, name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("cairn-{}-{number}-{name}", std::process::id()));
        // What is there is of an earlier process with the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder for a test");
        Self(path.canonicalize().expect("a folder for a test"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file with this mode.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap_or(&self.0)).expect("a folder for a test's file");
        fs::write(&path, text).expect("a test's file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a test's file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() && !EVIDENCE.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
