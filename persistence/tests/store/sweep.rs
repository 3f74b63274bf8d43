//! The crash sweep: whole lives of the wired flows on real databases, with each call to the store failing once, in
//! each of four ways.

mod accounts;
mod registration;
mod session;
mod stand;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_runtime::Clock;
use cairn_runtime::testing::scenarios;
use cairn_runtime::testing::store::{Aim, MODES, Mode};
use futures_util::future::BoxFuture;

use self::stand::Stand;
use crate::auth::{Town, hasten, hastened, is_sound};
use crate::support::Kind;

/// No run goes on for much longer.
const DAY: Duration = Duration::from_secs(86_400);

/// One story of auth.
struct Scenario {
    name: &'static str,
    /// The fewest calls that a run of it makes; with fewer it would show nothing.
    calls: u64,
    run: for<'a> fn(&'a Stand<'_>) -> BoxFuture<'a, ()>,
}

const ALL: [Scenario; 10] = [
    Scenario { name: "a newcomer registers", calls: 20, run: |stand| Box::pin(registration::newcomer(stand)) },
    Scenario { name: "nobody proves the address", calls: 8, run: |stand| Box::pin(registration::nobody(stand)) },
    Scenario { name: "refresh tokens rotate", calls: 10, run: |stand| Box::pin(session::rotation(stand)) },
    Scenario { name: "somebody signs out", calls: 10, run: |stand| Box::pin(session::sign_out(stand)) },
    Scenario { name: "a fence moves", calls: 10, run: |stand| Box::pin(session::fence(stand)) },
    Scenario { name: "a client has only its tokens", calls: 5, run: |stand| Box::pin(session::client(stand)) },
    Scenario { name: "a password is forgotten", calls: 20, run: |stand| Box::pin(accounts::recovery(stand)) },
    Scenario { name: "a password is changed", calls: 10, run: |stand| Box::pin(accounts::password(stand)) },
    Scenario {
        name: "an address is changed and taken back",
        calls: 30,
        run: |stand| Box::pin(accounts::address(stand)),
    },
    Scenario { name: "an account is deleted", calls: 20, run: |stand| Box::pin(accounts::deletion(stand)) },
];

/// Says which run it was, should it end badly.
struct Named(&'static str, Option<Aim>);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failing = self.1.map_or_else(|| "nothing failed".to_owned(), |aim| aim.to_string());
            eprintln!("in the scenario \"{}\": {failing}", self.0);
        }
    }
}

/// Tells a story once; gives the call that failed.
async fn tell(town: &Town, scenario: &Scenario, aim: Option<Aim>) -> Option<&'static str> {
    let _named = Named(scenario.name, aim);
    let stand = Stand::set(town, aim).await;
    (scenario.run)(&stand).await;
    stand.close().await
}

/// Fails each call of a scenario in one mode, one run after the other; gives how often each method was hit.
async fn sweep(town: &Town, scenario: &Scenario, mode: Mode) -> BTreeMap<&'static str, u64> {
    let mut hits = BTreeMap::new();
    town.empty().await;
    assert_eq!(tell(town, scenario, None).await, None);
    for nth in 1..=1_000 {
        let Some(call) = tell(town, scenario, Some(Aim { nth, call: None, mode })).await else {
            is_sound(&town.store(0), town.clock.now().after(DAY)).await;
            return hits;
        };
        *hits.entry(call).or_default() += 1;
    }
    panic!("{}: a scenario of a thousand store calls does not end by itself", scenario.name);
}

async fn auth(kind: Kind) {
    let town = Town::new(kind, 1).await;
    for scenario in &ALL {
        for mode in MODES {
            let began = Instant::now();
            let hits = sweep(&town, scenario, mode).await;
            let all: u64 = hits.values().sum();
            println!("{kind:?}, {}, {mode:?}: {all} calls failed in {:.1?}: {hits:?}", scenario.name, began.elapsed());
            assert!(all >= scenario.calls, "{all} calls show little of {}", scenario.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_survives_the_failure_of_any_one_call_on_sqlite() {
    auth(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flow_survives_the_failure_of_any_one_call_on_postgresql() {
    auth(Kind::Postgres).await;
}

async fn toys(kind: Kind) {
    let place = hastened(kind).await;
    let counted = place.store().await;
    hasten(&counted.database).await;
    for scenario in &scenarios::ALL {
        for mode in MODES {
            let began = Instant::now();
            // An audit at the end of each run looks at everything that is there.
            counted.empty().await;
            let hits = scenarios::sweep(scenario, mode, async || counted.bench()).await;
            println!("{kind:?}, {scenario:?}, {mode:?}: {hits} calls failed in {:.1?}", began.elapsed());
            assert!(hits > 5, "{hits} calls show little of {scenario:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_toy_survives_the_failure_of_any_one_call_on_sqlite() {
    toys(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_toy_survives_the_failure_of_any_one_call_on_postgresql() {
    toys(Kind::Postgres).await;
}
