//! A network that swallows packets: a call is given up at its deadline, its connection is never used again, and the next
//! goes on as though nothing had been.

use std::sync::Arc;
use std::time::Duration;

use cairn_persistence::{Database, Options};
use cairn_runtime::store::{Row, Store, StoreFault, Verdict};
use cairn_runtime::testing::suite::given::{Draft, at, delivery, flow, input, start, step};

use sea_orm::ConnectionTrait;

use crate::proxy::{Falls, Proxy};
use crate::support::{Counted, Counters, Kind, Place};

/// A store whose every word goes through a proxy, and one that goes by no proxy.
struct Stand {
    proxy: Proxy,
    through: Counted,
    beside: Counted,
    _place: Place,
}

impl Stand {
    async fn new(counters: Counters) -> Self {
        let place = Place::new(Kind::Postgres).await;
        let beside = place.store().await;
        let proxy = Proxy::before(&place.address).await;
        let span = Duration::from_millis(1_500);
        let options = Options { patience: span, answer_within: span, ..Options::default() };
        let database = Database::open(&proxy.address, &options).await.unwrap();
        let through = Counted { store: Arc::new(database.store(counters)), database };
        Self { proxy, through, beside, _place: place }
    }

    async fn commit(&self, draft: Draft) -> Result<Verdict, StoreFault> {
        let verdicts = self.through.store.commit(&[draft.item]).await?;
        Ok(verdicts.into_iter().next().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_on_a_line_that_falls_silent_is_left_open_and_settled_on_another() {
    let stand = Stand::new(Counters::InTransaction).await;
    assert_eq!(stand.commit(start(1)).await, Ok(Verdict::Done));
    let silences =
        [("BEGIN", Falls::Before), ("BEGIN", Falls::Behind), ("COMMIT", Falls::Before), ("COMMIT", Falls::Behind)];
    for (number, (words, falls)) in (1..).zip(silences) {
        let last = stand.beside.bench().row(flow(1)).await;
        let draft = || step(&last, number).claim(&format!("name:{number}")).add("a", 1);
        stand.proxy.falls_silent_at(words, falls);
        let fault = stand.commit(draft()).await.unwrap_err();
        assert!(matches!(fault, StoreFault::Ambiguous(_)), "{fault:?}");
        stand.proxy.is_given_up().await;

        let again = stand.commit(draft().seen()).await;
        match again {
            Ok(Verdict::Done) => assert_ne!((words, falls), ("COMMIT", Falls::Behind), "it was durable"),
            Ok(Verdict::Before(event)) => {
                assert_eq!((words, falls, event.input), ("COMMIT", Falls::Behind, input(number)));
            }
            other => panic!("{words} {falls:?}: {other:?}"),
        }
        assert_eq!(stand.beside.bench().row(flow(1)).await.version, number + 1);
        assert_eq!(stand.beside.bench().probe.counter("a").await, i64::try_from(number).unwrap(), "once");
    }
    stand.beside.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_in_one_statement_is_left_open_and_settled_on_another_line_too() {
    let stand = Stand::new(Counters::AtOnce).await;
    assert_eq!(stand.commit(start(1)).await, Ok(Verdict::Done));
    for (number, (key, falls)) in (1..).zip([("name:first", Falls::Before), ("name:second", Falls::Behind)]) {
        let last = stand.beside.bench().row(flow(1)).await;
        let draft = || step(&last, number).claim(key).add("a", 1);
        // What is said with the key is the statement itself.
        stand.proxy.falls_silent_at(key, falls);
        let fault = stand.commit(draft()).await.unwrap_err();
        assert!(matches!(fault, StoreFault::Ambiguous(_)), "{fault:?}");
        stand.proxy.is_given_up().await;

        match stand.commit(draft().seen()).await {
            Ok(Verdict::Done) => assert_eq!(falls, Falls::Before, "it was durable"),
            Ok(Verdict::Before(event)) => assert_eq!((falls, event.input), (Falls::Behind, input(number))),
            other => panic!("{falls:?}: {other:?}"),
        }
        assert_eq!(stand.beside.bench().row(flow(1)).await.version, number + 1);
        assert_eq!(stand.beside.bench().probe.counter("a").await, i64::try_from(number).unwrap(), "once");
    }
    stand.beside.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_contests_is_committed_in_one_journey() {
    let stand = Stand::new(Counters::AtOnce).await;
    let all = |last: &Row, number: u64| {
        step(last, number)
            .claim(&format!("name:{number}"))
            .release(&format!("name:{}", number - 1))
            .bump_from("fence", i64::try_from(number).unwrap() - 2)
            .hold("held", 0)
            .sends(delivery(number, flow(1)))
            .settles(number - 1)
            .opens(100 + number)
            .add("a", 1)
    };
    let first = start(1).claim("name:1").claim("fence").claim("held").sends(delivery(1, flow(1)));
    assert_eq!(stand.commit(first).await, Ok(Verdict::Done));
    let writers = stand.through.database.writer().pool().unwrap().get_postgres_connection_pool();
    for number in 2..14 {
        let last = stand.beside.bench().row(flow(1)).await;
        while writers.num_idle() < writers.size() as usize {
            tokio::task::yield_now().await; // another connection would have to prepare the statement anew
        }
        let before = stand.proxy.journeys();
        assert_eq!(stand.commit(all(&last, number)).await, Ok(Verdict::Done));
        if number > 2 + u64::from(writers.size()) {
            assert_eq!(stand.proxy.journeys() - before, 1, "the statement is prepared, and carries all there is");
        }
    }
    assert_eq!(stand.beside.bench().probe.counter("a").await, 12);
    assert_eq!(stand.beside.bench().probe.guard("fence").await, Some(12));
    stand.beside.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_a_transaction_is_left_open_too() {
    let stand = Stand::new(Counters::InTransaction).await;
    assert_eq!(stand.commit(start(1)).await, Ok(Verdict::Done));
    let set_aside = || stand.through.store.quarantine(flow(1), 1, at(3), "it panics");
    stand.proxy.falls_silent_at("UPDATE", Falls::Before);
    let fault = set_aside().await.unwrap_err();
    assert!(matches!(fault, StoreFault::Ambiguous(_)), "{fault:?}");
    stand.proxy.is_given_up().await;
    assert_eq!(set_aside().await, Ok(()));
    assert!(stand.beside.bench().row(flow(1)).await.quarantined.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_on_a_line_that_falls_silent_finds_the_database_away_and_the_next_finds_it_again() {
    let stand = Stand::new(Counters::InTransaction).await;
    assert_eq!(stand.commit(start(1)).await, Ok(Verdict::Done));
    for falls in [Falls::Before, Falls::Behind] {
        // A new connection says the whole of a statement once, when it prepares it.
        stand.proxy.falls_silent_at("FROM \"flows\"", falls);
        let fault = stand.through.store.load(flow(1)).await.unwrap_err();
        assert!(matches!(fault, StoreFault::Unavailable(_)), "{fault:?}");
        stand.proxy.is_given_up().await;
    }
    assert_eq!(stand.through.store.load(flow(1)).await.unwrap().unwrap().version, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_fell_silent_while_they_rested_cost_nobody_an_error() {
    let stand = Stand::new(Counters::InTransaction).await;
    let readers = stand.through.database.readers();
    // One of them is not enough for two that take their time, so there come to be two.
    while readers.resting() < 2 {
        let both = [(); 2].map(|()| readers.execute_unprepared("SELECT pg_sleep(0.05)"));
        for done in futures_util::future::join_all(both).await {
            done.unwrap();
        }
        tokio::task::yield_now().await; // each is tried as it is given back
    }
    stand.beside.write("SELECT pg_sleep(0.2)").await; // the rest after which a line is tried is a tenth of a second
    stand.proxy.falls_silent();
    assert_eq!(stand.through.store.load(flow(1)).await, Ok(None));
    stand.proxy.is_given_up().await;
    assert_eq!(stand.through.store.load(flow(1)).await, Ok(None));
}
