//! Refreshes over HTTP against the release binary, beside the steps of the engine by itself.

use super::report::{Aim, Report, Rounds};
use super::rig::Rig;
use super::rounds;
use super::server::{Server, Visitor, sessions, visit};
use super::sqlite::{CLIENTS, SPAN};
use super::support::folder::Folder;
use super::support::{App, Kind};

pub async fn refreshes(report: &mut Report) {
    eprintln!("refreshes over HTTP, {CLIENTS} connections");
    // A refresh token that came back at once would be told the same again, which costs no step: here each is new.
    let app = App::plan(Kind::Sqlite).named("bench-http").set("CAIRN_LOG", "warn").prepare();
    let mut server = Server::launch(&app);
    let address = server.ready();
    let tokens = sessions(&app, CLIENTS).await;
    let mut visitors = Vec::new();
    for token in tokens {
        visitors.push(Visitor::new(address, token).await.expect("the server accepts"));
    }
    let folder = Folder::new("bench-http-engine");
    let rig = Rig::open(folder.path().join("cairn.db").to_str().unwrap(), folder.path()).await;
    let walks = rig.walks(CLIENTS).await;
    rig.pace(&walks, SPAN / 2).await;
    (visitors, _) = visit(visitors, SPAN / 2).await;
    let mut measured = Rounds::default();
    for _ in 0..rounds() {
        let pace = rig.pace(&walks, SPAN).await;
        let refreshed;
        (visitors, refreshed) = visit(visitors, SPAN).await;
        measured.add(refreshed, pace.steps_per_second);
    }
    report.ratio(
        "refreshes/s over HTTP, 64 connections, SQLite (floor: steps/s of the first row)",
        &measured,
        Aim::AtLeast(0.4),
    );
}
