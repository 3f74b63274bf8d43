//! Steps per fsync: the engine in a process of its own over a shim that notes every sync.

use std::process::Command;

use super::report::{Aim, Report};
use super::rig::Rig;
use super::sqlite::{CLIENTS, SPAN};
use super::support::folder::Folder;
use super::support::shim::Shim;
use super::support::{App, Kind};
use super::{PART, rounds};

/// The switches of the shim, as the server under test gets them.
const SWITCHES: [&str; 2] = ["LD_PRELOAD", "SHIM_FOLDER"];

/// Runs this program once more over the shim.
pub async fn row(report: &mut Report) {
    eprintln!("steps per fsync");
    let shim = Shim::new();
    let app = shim.under(App::plan(Kind::Sqlite)).prepare();
    let mut figures = Vec::new();
    for _ in 0..rounds().min(3) {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.env(PART, "syncs");
        for (name, value) in app.command().get_envs() {
            if SWITCHES.iter().any(|switch| name == *switch) {
                child.env(name, value.unwrap());
            }
        }
        let output = child.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let (steps, syncs) = text.trim().split_once(' ').unwrap();
        let (steps, syncs): (f64, f64) = (steps.parse().unwrap(), syncs.parse().unwrap());
        assert!(syncs > 0.0, "the shim saw nothing");
        figures.push(steps / syncs);
    }
    report.beside("steps per fsync, 64 clients, SQLite FULL", &figures, 1.0, Aim::AtLeast(10.0));
}

/// In the process over the shim: walks, and says how many steps and how many syncs that was.
pub async fn count() {
    let folder = Folder::new("bench-syncs");
    let rig = Rig::open(folder.path().join("cairn.db").to_str().unwrap(), folder.path()).await;
    let walks = rig.walks(CLIENTS).await;
    rig.pace(&walks, SPAN / 4).await;
    let before = syncs();
    let pace = rig.pace(&walks, SPAN).await;
    println!("{} {}", pace.store.steps, syncs() - before);
}

/// Every sync counts: those of the log, of the database when the log is folded back into it, of anything else.
fn syncs() -> usize {
    let folder = std::env::var("SHIM_FOLDER").unwrap();
    std::fs::read_to_string(std::path::Path::new(&folder).join("syncs")).unwrap_or_default().lines().count()
}
