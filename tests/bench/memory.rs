//! Memory: of flows whose shells are there, of flows whose shells are gone, of a server that nobody has asked yet.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cairn_runtime::{FlowId, Id};
use tokio::task::JoinSet;

use super::PART;
use super::report::{Aim, Report};
use super::rig::{Ask, Rig, Walk};
use super::server::{Server, resident};
use super::support::folder::Folder;
use super::support::{App, Kind};

/// Flows that are active at once.
const FLOWS: usize = 20_000;
/// Times that so many other flows become active and idle again.
const CYCLES: usize = 4;
/// Flows that are active once before anything is weighed.
const WARMTH: usize = 1_000;
/// Names the folder to a process that is started for a part.
const FOLDER: &str = "CAIRN_BENCH_FOLDER";

/// Runs this program once more for a part of itself; answers what it says.
fn part(name: &str, folder: &Folder) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.env(PART, name).env(FOLDER, folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub async fn rows(report: &mut Report) {
    eprintln!("memory");
    let folder = Folder::new("bench-memory");
    part("seed", &folder);
    let text = part("memory", &folder);
    let (mut active, mut idle) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let figures: Vec<f64> = line.split(' ').map(|figure| figure.parse().unwrap()).collect();
        let [before, full, after] = figures[..] else { panic!("{line}") };
        active.push((full - before) / FLOWS as f64 / 1024.0);
        idle.push((after - before) / FLOWS as f64 / 1024.0);
    }
    report.note(format!("KB an active flow, cycle by cycle: {active:.1?}; left of an idle one: {idle:.2?}"));
    // The worst cycle, not the median: an allocator that keeps pages back would make the later ones look cheap.
    let worst = active.iter().copied().fold(0.0, f64::max);
    report.plain("memory per active flow (KB)", &[worst], Aim::AtMost(16.0));
    // Fifty bytes a flow either way are what pages make of nothing.
    let rounded: Vec<f64> = idle.iter().map(|figure| (figure * 10.0).round() / 10.0 + 0.0).collect();
    report.plain("memory per idle flow (KB, to a tenth)", &rounded, Aim::AtMost(0.0));

    let mut rest = Vec::new();
    for _ in 0..3 {
        let app = App::plan(Kind::Sqlite).named("bench-rest").prepare();
        let mut server = Server::launch(&app);
        server.ready();
        pause(Duration::from_secs(1)).await;
        rest.push(server.resident() / 1024.0 / 1024.0);
        server.kill9();
    }
    report.plain("memory at rest before the first hash (MB)", &rest, Aim::AtMost(30.0));
}

/// In a process of its own, which ends with what making the flows cost: begins the walks of all cycles and lists them.
pub async fn seed() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let rig = Rig::open(folder.join("cairn.db").to_str().unwrap(), &folder).await;
    let mut list = String::new();
    for flow in rig.walks(FLOWS * CYCLES + WARMTH).await {
        list.push_str(&flow.0.crockford());
        list.push('\n');
    }
    std::fs::write(folder.join("walks"), list).unwrap();
}

/// In another: says what it has before, with, and after so many active flows, a line a cycle.
pub async fn weigh() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let list = std::fs::read_to_string(folder.join("walks")).unwrap();
    let walks: Vec<FlowId> = list.lines().map(|line| FlowId(Id::parse_crockford(line).unwrap())).collect();
    let rig = Rig::open(folder.join("cairn.db").to_str().unwrap(), &folder).await;
    // Connections, statements and threads are there once, whatever the number of flows.
    let (warmth, walks) = walks.split_at(WARMTH);
    stir(&rig, warmth).await;
    for group in walks.chunks(FLOWS) {
        let before = resident("self");
        activate(&rig, group).await;
        assert_eq!(rig.engine.active(), FLOWS, "all shells are there");
        pause(Duration::from_millis(500)).await;
        let full = resident("self");
        passivate(&rig).await;
        stir(&rig, warmth).await;
        println!("{before} {full} {}", resident("self"));
    }
}

/// A little ordinary work, as a server that lives always has: a thread gives pages back when it next asks for some, and
/// threads that nobody asks anything hold on to theirs.
async fn stir(rig: &Rig, flows: &[FlowId]) {
    for _ in 0..4 {
        activate(rig, flows).await;
        passivate(rig).await;
        rig.pace(&flows[..64], Duration::from_millis(500)).await;
        passivate(rig).await;
    }
    pause(Duration::from_secs(2)).await;
}

async fn activate(rig: &Rig, flows: &[FlowId]) {
    for some in flows.chunks(256) {
        let mut looks = JoinSet::new();
        for flow in some.iter().copied() {
            let engine = rig.engine.clone();
            looks.spawn(async move { engine.call::<Walk>(flow, engine.asker("bench"), Ask::Look).await.unwrap() });
        }
        looks.join_all().await;
    }
}

async fn passivate(rig: &Rig) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while rig.engine.active() > 0 {
        rig.engine.passivate_idle(Duration::ZERO);
        tick.tick().await;
    }
}

/// Lets the machine come to rest: what is measured here is not how long anything takes.
async fn pause(span: Duration) {
    let mut tick = tokio::time::interval(span);
    tick.tick().await;
    tick.tick().await;
}
