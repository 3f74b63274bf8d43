//! Races for one user's fence, sessions, address and name, between two processes on PostgreSQL and tasks on SQLite.
//!
//! Every race has a seed, which chooses who asks what on which node, and in which order the calls to the database go
//! in. `CAIRN_TEST_SEED` runs one seed alone.

mod case;
mod judge;
mod newcomers;
mod turnstile;

use std::sync::Arc;
use std::time::Instant;

use cairn_actors::flows::registration::Registration;
use cairn_actors::secrets::credential::{Purpose, Seal};
use cairn_actors::secrets::password::Code;
use cairn_actors::testing;
use cairn_runtime::FlowId;
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

use self::case::Case;
use self::judge::{Ledger, Tally, ask_again, judge};
use self::turnstile::{Turned, Turnstile};
use crate::auth::{Node, Town, is_sound};
use crate::support::Kind;

/// The seeds of a test: so many, ten times as many where `CAIRN_PROVE` asks for it, or one alone.
fn seeds(usual: u64) -> Vec<u64> {
    if let Ok(one) = std::env::var("CAIRN_TEST_SEED") {
        return vec![one.parse().unwrap()];
    }
    let factor = if std::env::var_os("CAIRN_PROVE").is_some() { 10 } else { 1 };
    (0..usual * factor).collect()
}

/// What the last letter of a registration that awaits its code is rendered from.
async fn last_letter(town: &Town, flow: FlowId) -> Seal {
    let row = town.store(0).load(flow).await.unwrap().unwrap();
    let Registration::AwaitingCode(awaiting) = serde_json::from_str(&row.state).unwrap() else {
        panic!("it awaits a code, not {}", row.phase)
    };
    awaiting.challenge.last().unwrap().clone()
}

/// The code of a letter.
fn code(town: &Town, flow: FlowId, letter: &Seal) -> Code {
    testing::code(&town.environment, Purpose::VerifyEmail, flow, letter)
}

/// Two nodes behind one turnstile.
async fn pair(town: &Arc<Town>, turnstile: &Arc<Turnstile>) -> [Node; 2] {
    let node = |process| {
        let store = Turned::around(town.store(process), Arc::clone(turnstile));
        town.node(process, store, Arc::clone(&town.clock))
    };
    [node(0).await, node(1).await]
}

/// Runs all seeds, a few at a time, each over two nodes; gives what happened in them.
async fn run(kind: Kind, seeds: Vec<u64>, lanes: usize) -> Tally {
    let (town, began) = (Arc::new(Town::new(kind, 2).await), Instant::now());
    let founder = Arc::new(town.node(0, town.store(0), Arc::clone(&town.clock)).await);
    let cases: Vec<Arc<Case>> =
        stream::iter(seeds).map(|seed| Case::found(&town, &founder, seed)).buffer_unordered(128).collect().await;
    let founded = began.elapsed();

    let mut running = JoinSet::new();
    for lane in 0..lanes {
        let town = Arc::clone(&town);
        let cases: Vec<Arc<Case>> = cases.iter().skip(lane).step_by(lanes).cloned().collect();
        running.spawn(async move {
            let turnstile = Turnstile::new();
            let nodes = pair(&town, &turnstile).await;
            for case in cases {
                case.race(&nodes, &turnstile).await;
            }
            for node in nodes {
                node.end().await;
            }
        });
    }
    while let Some(lane) = running.join_next().await {
        lane.unwrap();
    }
    let raced = began.elapsed();

    let left = Ledger::read(&town).await;
    let asked = cases.iter().map(|case| ask_again(case, &left, &founder));
    stream::iter(asked).buffer_unordered(128).collect::<()>().await;
    let (ledger, mut all) = (Ledger::read(&town).await, Tally::default());
    cases.iter().for_each(|case| all.add(&judge(case, &ledger)));
    is_sound(founder.engine.store(), founder.engine.now()).await;
    Arc::into_inner(founder).expect("nobody else has it").end().await;
    println!("{kind:?}: {all:?}; founded in {founded:.1?}, raced by {raced:.1?}, judged by {:.1?}", began.elapsed());
    all
}

/// Every end that a race can come to was come to.
fn shows_something(all: &Tally) {
    let Tally { races, bumps, refused, begun, rotated, repeated, fenced, reused, signed_out, told_ended, afar } = *all;
    if races < 100 {
        return;
    }
    for (what, count) in [
        ("bumps", bumps),
        ("sign-ins refused", refused),
        ("sign-ins", begun),
        ("rotations", rotated),
        ("repeats", repeated),
        ("sessions ended by a fence", fenced),
        ("sessions ended by their misuse", reused),
        ("sessions signed out", signed_out),
        ("answers by what had ended", told_ended),
        ("questions on the second node", afar),
    ] {
        assert!(count * 50 > races, "{count} {what} in {races} races: that shows little");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_a_fence_on_sqlite() {
    shows_something(&run(Kind::Sqlite, seeds(2_000), 8).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outlives_a_fence_between_two_processes_on_postgresql() {
    shows_something(&run(Kind::Postgres, seeds(500), 6).await);
}
