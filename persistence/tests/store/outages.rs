//! Bad days: what is said of a commit while the database is away, full or cut off, and that all goes on afterwards.

use cairn_runtime::store::{Store, StoreFault, Verdict};
use cairn_runtime::testing::suite::given::{Draft, act, claim, delivery, flow, row, start, step};
use sea_orm::ConnectionTrait;

use crate::support::{Counted, Counters, Kind, Place};

async fn commit(counted: &Counted, draft: Draft) -> Result<Verdict, StoreFault> {
    let verdicts = counted.store.commit(&[draft.item]).await?;
    Ok(verdicts.into_iter().next().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_and_found_again() {
    let place = Place::on_own_server().await;
    let counted = place.store().await;
    assert_eq!(commit(&counted, start(1)).await, Ok(Verdict::Done));
    counted.store.load(flow(1)).await.unwrap().unwrap();

    place.server().halt();
    let away = |fault: &StoreFault| matches!(fault, StoreFault::Unavailable(_));
    // The first that are asked find connections that were cut, the next none at all.
    for _ in 0..3 {
        let fault = commit(&counted, step(&row(1), 1)).await.unwrap_err();
        assert!(away(&fault), "{fault:?}");
        let fault = counted.store.load(flow(1)).await.unwrap_err();
        assert!(away(&fault), "{fault:?}");
        assert!(away(&counted.store.ping().await.unwrap_err()));
    }

    place.server().start_again();
    assert_eq!(commit(&counted, step(&row(1), 1)).await, Ok(Verdict::Done));
    assert_eq!(counted.store.load(flow(1)).await.unwrap().unwrap().version, 2);
    assert_eq!(counted.store.ping().await, Ok(()));
    counted.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_restarted_between_two_commits_costs_nobody_an_error() {
    let place = Place::on_own_server().await;
    let counted = place.store().await;
    let mut last = row(1);
    assert_eq!(commit(&counted, start(1)).await, Ok(Verdict::Done));
    for number in 1..=3 {
        place.server().halt();
        place.server().start_again();
        assert_eq!(commit(&counted, step(&last, number)).await, Ok(Verdict::Done));
        last = counted.bench().row(flow(1)).await;
    }
    assert_eq!(last.version, 4);
}

/// A trigger at the end of the transaction: whatever it does happens inside COMMIT.
async fn at_commit(counted: &Counted, does: &str) {
    counted
        .write(&format!(
            "CREATE FUNCTION bad_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NULL; END $$"
        ))
        .await;
    counted
        .write(
            "CREATE CONSTRAINT TRIGGER bad_day AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION bad_day()",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_told_from_one_that_was_refused() {
    let place = Place::new(Kind::Postgres).await;
    let counted = place.store().await;
    type Right = fn(&StoreFault) -> bool;
    let days: [(&str, Right); 5] = [
        ("PERFORM pg_terminate_backend(pg_backend_pid());", |fault| matches!(fault, StoreFault::Ambiguous(_))),
        ("RAISE SQLSTATE '40001';", |fault| matches!(fault, StoreFault::Conflict(_))),
        ("RAISE SQLSTATE '40P01';", |fault| matches!(fault, StoreFault::Conflict(_))),
        ("RAISE SQLSTATE '53100';", |fault| matches!(fault, StoreFault::Full(_))),
        ("RAISE SQLSTATE '23514';", |fault| matches!(fault, StoreFault::Unexpected(_))),
    ];
    for (number, (does, right)) in (1..).zip(days) {
        at_commit(&counted, does).await;
        let draft = || start(number).claim(&format!("name:{number}")).add("a", 1).sends(delivery(number, flow(number)));
        let fault = commit(&counted, draft()).await.unwrap_err();
        assert!(right(&fault), "{does} {fault:?}");
        assert_eq!(counted.store.load(flow(number)).await, Ok(None));
        counted.write("DROP TRIGGER bad_day ON events").await;
        counted.write("DROP FUNCTION bad_day").await;
        assert_eq!(commit(&counted, draft().seen()).await, Ok(Verdict::Done), "{does}");
    }
    counted.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_within_a_transaction_means_that_nothing_was_done() {
    let place = Place::new(Kind::Postgres).await;
    let counted = place.store_with(Counters::InTransaction).await;
    counted
        .write("CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$")
        .await;
    let begun = "CREATE TRIGGER cut BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION cut()";
    counted.write(begun).await;
    let draft = || start(1).claim("name:1").add("a", 1).sends(delivery(1, flow(1)));
    let fault = commit(&counted, draft()).await.unwrap_err();
    assert!(matches!(fault, StoreFault::Unavailable(_)), "{fault:?}");
    // A statement that commits by itself may have done so.
    let at_once = place.store_with(Counters::AtOnce).await;
    let fault = commit(&at_once, draft()).await.unwrap_err();
    assert!(matches!(fault, StoreFault::Ambiguous(_)), "{fault:?}");
    counted.write("DROP TRIGGER cut ON outbox").await;
    assert_eq!(counted.bench().figures().await, [0, 0, 0]);
    assert_eq!(commit(&at_once, draft().seen()).await, Ok(Verdict::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_outlived() {
    let place = Place::new(Kind::Sqlite).await;
    let counted = place.store().await;
    assert_eq!(commit(&counted, start(1)).await, Ok(Verdict::Done));
    // As many pages as there are: SQLite meets this limit as it meets the end of a disk.
    let pages = "PRAGMA max_page_count = 1";
    counted.database.writer().execute_unprepared(pages).await.unwrap();
    let big =
        |number| start(number).claim("name:a").with_row(|row| row.state = format!(r#""{}""#, "x".repeat(100_000)));
    for number in 2..6 {
        let fault = commit(&counted, big(number)).await.unwrap_err();
        assert!(matches!(fault, StoreFault::Full(_)), "{fault:?}");
        assert_eq!(counted.store.load(flow(number)).await, Ok(None));
    }
    assert_eq!(counted.store.load(flow(1)).await.unwrap().unwrap().version, 1, "reads go on");
    counted.database.writer().execute_unprepared("PRAGMA max_page_count = 1000000").await.unwrap();
    assert_eq!(commit(&counted, big(7)).await, Ok(Verdict::Done));
    assert_eq!(commit(&counted, act(8).add("a", 1)).await, Ok(Verdict::Done));
    assert_eq!(counted.bench().figures().await, [2, 3, 0]);
    counted.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_undoes_the_batch_and_nothing_else() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        let good = || start(1).claim("name:1").add("a", 1).sends(delivery(1, flow(1)));
        let batch = [good().item, start(2).claim("name:2").add("broken", 1).item];
        for _ in 0..20 {
            let fault = counted.store.commit(&batch).await.unwrap_err();
            assert!(matches!(fault, StoreFault::Unexpected(_)), "{fault:?}");
        }
        assert_eq!(counted.bench().figures().await, [0, 0, 0]);
        assert_eq!(commit(&counted, good()).await, Ok(Verdict::Done));
        assert_eq!(counted.bench().figures().await, [1, 1, 1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_database_is_not_available() {
    let place = Place::new(Kind::Sqlite).await;
    let counted = place.store().await;
    counted.database.close().await.unwrap();
    let away = |fault: StoreFault| matches!(fault, StoreFault::Unavailable(_));
    assert!(away(commit(&counted, start(1)).await.unwrap_err()));
    assert!(away(counted.store.load(flow(1)).await.unwrap_err()));
    assert!(away(counted.store.claim_due(claim("one", cairn_runtime::Timestamp(0))).await.unwrap_err()));
}
