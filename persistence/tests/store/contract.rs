//! The engine's contract, sentence by sentence, on both databases.

use cairn_runtime::testing::suite;

use crate::support::{Kind, Place};

async fn keeps_the_contract(kind: Kind) {
    let place = Place::new(kind).await;
    let counted = place.store().await;
    suite::run_all(async || {
        counted.empty().await;
        counted.bench()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_the_contract() {
    keeps_the_contract(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_keeps_the_contract() {
    keeps_the_contract(Kind::Postgres).await;
}
