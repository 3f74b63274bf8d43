//! The crash sweep: whole lives of the wired flows on real databases, with each call to the store failing once, in
//! each of four ways.

mod accounts;
mod authorization;
mod registration;
mod session;
mod stand;

use std::sync::Arc;

use cairn_runtime::testing::scenarios;
use cairn_runtime::testing::store::MODES;
use cairn_runtime::testing::sweep::{Scenario, sweep};

use self::stand::Stand;
use crate::auth::{Town, hasten, hastened};
use crate::support::Kind;

const ALL: [Scenario<Stand>; 11] = [
    Scenario { name: "a newcomer registers", calls: 20, run: |stand| Box::pin(registration::newcomer(stand)) },
    Scenario { name: "nobody proves the address", calls: 8, run: |stand| Box::pin(registration::nobody(stand)) },
    Scenario { name: "refresh tokens rotate", calls: 10, run: |stand| Box::pin(session::rotation(stand)) },
    Scenario { name: "somebody signs out", calls: 10, run: |stand| Box::pin(session::sign_out(stand)) },
    Scenario { name: "a fence moves", calls: 10, run: |stand| Box::pin(session::fence(stand)) },
    Scenario { name: "a client has only its tokens", calls: 5, run: |stand| Box::pin(session::client(stand)) },
    Scenario { name: "a client is let in", calls: 20, run: |stand| Box::pin(authorization::grant(stand)) },
    Scenario { name: "a password is forgotten", calls: 20, run: |stand| Box::pin(accounts::recovery(stand)) },
    Scenario { name: "a password is changed", calls: 10, run: |stand| Box::pin(accounts::password(stand)) },
    Scenario {
        name: "an address is changed and taken back",
        calls: 30,
        run: |stand| Box::pin(accounts::address(stand)),
    },
    Scenario { name: "an account is deleted", calls: 20, run: |stand| Box::pin(accounts::deletion(stand)) },
];

async fn auth(kind: Kind) {
    let town = Arc::new(Town::new(kind, 1).await);
    for scenario in &ALL {
        for mode in MODES {
            town.empty().await;
            sweep(&town, scenario, mode).await;
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
            // An audit at the end looks at everything that is there.
            counted.empty().await;
            sweep(&counted.bench(), scenario, mode).await;
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
