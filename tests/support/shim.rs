//! The shim between a server and the disk (`fsync.c`), compiled once a run and preloaded into the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::app::Plan;
use super::folder::Folder;

/// The switches of one server's shim.
pub struct Shim(Folder);

impl Shim {
    pub fn new() -> Self {
        Self(Folder::new("shim"))
    }

    /// Has the planned server run over this shim.
    pub fn under(&self, plan: Plan) -> Plan {
        plan.set("LD_PRELOAD", library().display()).set("SHIM_FOLDER", self.0.path().display())
    }

    /// How often a file of the database was synced so far.
    pub fn database_syncs(&self) -> usize {
        let notes = fs::read_to_string(self.0.path().join("syncs")).unwrap_or_default();
        notes.lines().filter(|path| path.contains("/cairn.db")).count()
    }

    /// Has every sync wait from now on.
    pub fn hold(&self) {
        let _ = fs::remove_file(self.0.path().join("held"));
        self.switch("hold", true);
    }

    /// Whether a sync is waiting.
    pub fn holds_one(&self) -> bool {
        self.0.path().join("held").exists()
    }

    pub fn release(&self) {
        self.switch("hold", false);
    }

    /// Whether syncs of the database fail.
    pub fn fail(&self, on: bool) {
        self.switch("fail", on);
    }

    /// Whether the disk has no room for the database.
    pub fn full(&self, on: bool) {
        self.switch("full", on);
    }

    fn switch(&self, name: &str, on: bool) {
        let path = self.0.path().join(name);
        if on { fs::write(path, "").unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<(Folder, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let folder = Folder::new("library");
        let path = folder.path().join("fsync.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fsync.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&path, &source])
            .output()
            .expect("a C compiler; `make test` installs one");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder, path)
    });
    path
}
