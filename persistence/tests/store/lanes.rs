//! Lanes on real databases: a receiver that hangs holds back its own only, and a claim looks at no more than it takes.

use std::sync::Arc;

use cairn_persistence::{Database, Options};
use cairn_runtime::store::{Claim, Store};
use cairn_runtime::testing::scenarios::hang;
use cairn_runtime::testing::suite::given::{at, claim};
use cairn_runtime::testing::toy::NOTES;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::support::{Counted, Counters, Kind, Place, on_both};

async fn a_receiver_that_hangs_holds_back_nothing_but_its_own_lane(kind: Kind) {
    let place = Place::new(kind).await;
    let counted = place.store().await;
    hang::a_receiver_that_hangs_holds_back_nothing_but_its_own_lane(counted.bench()).await;
}

on_both!(a_receiver_that_hangs_holds_back_nothing_but_its_own_lane);

/// How many scans an index has begun, and how many rows it gave.
async fn scans(counted: &Counted, of: &str) -> (i64, i64) {
    let backend = DbBackend::Postgres;
    let text = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = $1";
    // The numbers of a connection are seen by others once it has told them.
    counted.database.writer().execute_unprepared("SELECT pg_stat_force_next_flush()").await.unwrap();
    let statement = Statement::from_sql_and_values(backend, text, [of.into()]);
    let row = counted.database.writer().query_one_raw(statement).await.unwrap().unwrap();
    (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())
}

/// On SQLite the plan itself is looked at: see `due.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_reads_its_lane_by_its_index_and_no_more_than_it_takes() {
    let place = Place::new(Kind::Postgres).await;
    // One that writes, so that the numbers are all told by the one that is asked.
    let database = Database::open(&place.address, &Options { connections: 2, ..Options::default() }).await.unwrap();
    let counted = Counted { store: Arc::new(database.store(Counters::AtOnce)), database };
    for (lane, rows) in [("calls", 20_000), ("notes", 3_000)] {
        counted
            .write(&format!(
                "INSERT INTO outbox (id, flow, flow_kind, kind, payload, due, once, attempts, note, dead, created, lane)
                 SELECT decode(md5('{lane}' || i), 'hex'), decode(md5('flow'), 'hex'), 'toy', 'note', '', {due} + i, false,
                 0, '', false, {due}, '{lane}' FROM generate_series(1, {rows}) AS i",
                due = at(0).0
            ))
            .await;
    }
    counted.write("ANALYZE outbox").await;
    let (before, read_before) = scans(&counted, "outbox_lane").await;
    let few = Claim { limit: 20, ..claim("one", at(1_000)) };
    let claimed = counted.store.claim_deliveries(NOTES.name, few).await.unwrap();
    assert_eq!(claimed.len(), 20);
    assert!(claimed.iter().all(|delivery| delivery.lane == NOTES.name));
    let (after, read_after) = scans(&counted, "outbox_lane").await;
    assert_eq!(after - before, 1, "one scan of the index");
    assert!((20..100).contains(&(read_after - read_before)), "{} rows for 20", read_after - read_before);
}
