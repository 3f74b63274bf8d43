//! The engine's contract, sentence by sentence, on both databases.

use cairn_runtime::testing::suite;

use crate::support::{Counters, Kind, Place};

async fn keeps_the_contract(kind: Kind, counters: Counters) {
    let place = Place::new(kind).await;
    let counted = place.store_with(counters).await;
    suite::run_all(async || {
        counted.empty().await;
        counted.bench()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    keeps_the_contract(Kind::Sqlite, Counters::InTransaction).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_the_contract_in_one_statement() {
    keeps_the_contract(Kind::Postgres, Counters::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_the_contract_in_a_transaction() {
    keeps_the_contract(Kind::Postgres, Counters::InTransaction).await;
}
