//! A network that swallows packets: a call is given up at its deadline, its connection is never used again, and the next
//! goes on as though nothing had been.

use std::sync::Arc;
use std::time::Duration;

use cairn_persistence::{Database, Options};
use cairn_runtime::store::{Store, StoreFault, Verdict};
use cairn_runtime::testing::suite::given::{Draft, at, flow, input, start, step};

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
    async fn new() -> Self {
        let place = Place::new(Kind::Postgres).await;
        let beside = place.store().await;
        let proxy = Proxy::before(&place.address).await;
        let span = Duration::from_millis(1_500);
        let options = Options { patience: span, answer_within: span, ..Options::default() };
        let database = Database::open(&proxy.address, &options).await.unwrap();
        let through = Counted { store: Arc::new(database.store(Counters)), database };
        Self { proxy, through, beside, _place: place }
    }

    async fn commit(&self, draft: Draft) -> Result<Verdict, StoreFault> {
        let verdicts = self.through.store.commit(&[draft.item]).await?;
        Ok(verdicts.into_iter().next().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_on_a_line_that_falls_silent_is_left_open_and_settled_on_another() {
    let stand = Stand::new().await;
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
async fn a_write_without_a_transaction_is_left_open_too() {
    let stand = Stand::new().await;
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
    let stand = Stand::new().await;
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
    let stand = Stand::new().await;
    let rested = stand.through.database.readers().get_postgres_connection_pool();
    let both = [(); 2].map(|()| rested.acquire());
    futures_util::future::join_all(both).await.into_iter().for_each(|taken| drop(taken.unwrap()));
    while rested.num_idle() < 2 {
        tokio::task::yield_now().await; // each is tried as it is given back
    }
    stand.beside.write("SELECT pg_sleep(0.2)").await; // the rest after which a line is tried is a tenth of a second
    stand.proxy.falls_silent();
    assert_eq!(stand.through.store.load(flow(1)).await, Ok(None));
    stand.proxy.is_given_up().await;
    assert_eq!(stand.through.store.load(flow(1)).await, Ok(None));
}
