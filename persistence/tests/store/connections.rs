//! Fewer connections than were asked for: whoever waits gets one of those that there are.

use std::sync::Arc;
use std::time::Duration;

use cairn_persistence::{Database, Figures, Options};
use cairn_runtime::store::{Store, StoreFault, Verdict};
use cairn_runtime::testing::suite::given::{flow, start};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::Barrier;

use crate::support::{Counted, Counters, Kind, Place, on_both};

/// So many read at once, each for a while, and again and again.
async fn crowd(database: &Database, readers: usize) {
    let begin = Arc::new(Barrier::new(readers));
    let reading = (0..readers).map(|_| {
        let (database, begin) = (database.clone(), Arc::clone(&begin));
        tokio::spawn(async move {
            begin.wait().await;
            for _ in 0..8 {
                database.readers().execute_unprepared("SELECT pg_sleep(0.02)").await.unwrap();
            }
        })
    });
    for done in join_all(reading).await {
        done.unwrap();
    }
}

/// How many connections read.
fn open(database: &Database) -> usize {
    database.figures().0.open
}

async fn number(connection: &impl ConnectionTrait, sql: &str) -> i64 {
    let row = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// Our sessions as the server counts them.
const SESSIONS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cairn'";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_refused_while_connections_come_free() {
    let (place, _) = Place::limited(4).await;
    let counted = place.store().await;
    for round in 0..3 {
        let (crowd, verdicts) = tokio::join!(crowd(&counted.database, 48), async {
            let commits = (0..8).map(|number| start(100 * round + number).claim(&format!("name:{round}:{number}")));
            counted.store.commit(&commits.map(|draft| draft.item).collect::<Vec<_>>()).await
        });
        let () = crowd;
        assert_eq!(verdicts.unwrap(), vec![Verdict::Done; 8]);
    }
    let (Figures { open: readers, most: asked, .. }, _) = counted.database.figures();
    // Some write: the next commit may begin while the last one's connection is on its way back.
    assert!((1..=3).contains(&readers) && asked == 16, "{readers} of {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_connections_are_opened_than_the_settings_say() {
    let (place, all) = Place::limited(40).await;
    let admin = sea_orm::Database::connect(&all).await.unwrap();
    for (connections, readers) in [(2, 1), (6, 4), (24, 16)] {
        let options = Options { connections, ..Options::default() };
        let database = Database::open(&place.address, &options).await.unwrap();
        // As many as may be are there once the crowd has asked for them often enough.
        for _ in 0..50 {
            crowd(&database, 32).await;
            if open(&database) == readers {
                break;
            }
        }
        assert_eq!((open(&database), database.figures().0.most), (readers, readers), "of {connections}");
        assert!(!database.is_short_of_connections());
        let sessions = number(&admin, SESSIONS).await;
        assert!(sessions <= i64::from(connections), "{sessions} instead of {connections}");
        database.close().await.unwrap();
        while number(&admin, SESSIONS).await > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_reads_gives_way_to_the_one_that_writes() {
    let (place, all) = Place::limited(4).await;
    let admin = sea_orm::Database::connect(&all).await.unwrap();
    // One of five writes, and four would read.
    let options = Options { patience: Duration::from_millis(1_500), connections: 5, ..Options::default() };
    let database = Database::open(&place.address, &options).await.unwrap();
    let counted = Counted { store: Arc::new(database.store(Counters::AtOnce)), database };
    while open(&counted.database) != 3 {
        crowd(&counted.database, 16).await;
    }
    // Somebody else of the same role takes the place of the one that writes.
    let writer = number(counted.database.writer(), "SELECT pg_backend_pid()::bigint").await;
    assert_eq!(number(&admin, &format!("SELECT count(pg_terminate_backend({writer}))")).await, 1);
    let thief = loop {
        match sea_orm::Database::connect(&place.address).await {
            Ok(thief) => break thief,
            Err(_) => tokio::task::yield_now().await, // the server takes a moment to count it as gone
        }
    };
    // The first may find the connection that was cut, and not know what became of its statement; that there is no
    // connection is nobody's answer.
    let verdicts = match counted.store.commit(&[start(1).item]).await {
        Err(StoreFault::Unavailable(_) | StoreFault::Ambiguous(_)) => counted.store.commit(&[start(1).item]).await,
        verdicts => verdicts,
    };
    assert_eq!(verdicts.unwrap(), [Verdict::Done]);
    assert_eq!(counted.store.load(flow(1)).await.unwrap().unwrap().version, 1);
    let (reading, _) = counted.database.figures();
    assert_eq!((reading.open, reading.most), (2, 4));
    assert!(counted.database.is_short_of_connections());
    thief.close().await.unwrap();
}

/// What is in use and who waits, on either database, with as many connections that write as there are taken.
async fn the_figures_tell_that_somebody_waits(kind: Kind) {
    let place = Place::new(kind).await;
    let counted = place.store().await;
    let database = &counted.database;
    // A connection that was used is on its way back for a moment.
    while database.figures().1.in_use > 0 {
        tokio::task::yield_now().await;
    }
    let (_, rest) = database.figures();
    assert_eq!(rest.waiting, 0);
    let mut taken = Vec::new();
    for _ in 0..rest.most {
        taken.push(database.begin().await.unwrap());
    }
    let (_, busy) = database.figures();
    assert_eq!((busy.open, busy.in_use, busy.waiting), (rest.most, rest.most, 0));
    let (more, ended) = tokio::join!(database.begin(), async {
        let (_, waited) = database.figures();
        assert_eq!((waited.in_use, waited.waiting), (rest.most, 1));
        taken.remove(0).rollback().await
    });
    let () = ended.unwrap();
    more.unwrap().rollback().await.unwrap();
    for taken in taken {
        taken.rollback().await.unwrap();
    }
    assert_eq!(database.figures().1.waiting, 0);
}

on_both!(the_figures_tell_that_somebody_waits);
