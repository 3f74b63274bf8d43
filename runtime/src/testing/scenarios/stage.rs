//! One process with the toy flows over a store that may fail once, and a client who insists on an answer all the same.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::town::Town;
use crate::clock::{Clock, Timestamp};
use crate::engine::{Asker, Engine, Fault, Parts, Reply, Tuning};
use crate::flow::Flow;
use crate::id::{FlowId, InputId};
use crate::store::{Event, Store};
use crate::testing::clock::{BEGINNING, FixedClock, Rng, SeededDice};
use crate::testing::process::Process;
use crate::testing::store::{Aim, FaultyStore, Sleep};
use crate::testing::suite::Bench;
use crate::testing::sweep::{Subject, Watched};
use crate::testing::toy::{Child, Errand, Faulty, Gate, Parent, Ticket, Toy, Trip};

/// A call that hangs ends after this, in real time.
const TIME_OUT: Duration = Duration::from_millis(20);

/// The registry of toy flows.
pub fn engine(parts: Parts<Toy>) -> Engine<Toy> {
    Engine::builder(parts)
        .flow::<Ticket>()
        .flow::<Gate>()
        .flow::<Parent>()
        .flow::<Child>()
        .flow::<Trip>()
        .flow::<Errand>()
        .flow::<Faulty>()
        .build()
}

/// A process under test, with its database and the world outside.
pub struct Stage {
    watched: Watched<Toy>,
    /// The world outside.
    pub town: Arc<Town>,
    /// The database as it is.
    pub bench: Bench,
    run: u64,
    asked: AtomicU64,
    counted: Mutex<BTreeMap<&'static str, i64>>,
}

impl Deref for Stage {
    type Target = Watched<Toy>;

    fn deref(&self) -> &Watched<Toy> {
        &self.watched
    }
}

impl Subject for Stage {
    type Place = Bench;

    async fn set(bench: &Bench, aim: Option<Aim>) -> Self {
        Self::tuned(bench.clone(), aim, Tuning::default()).await
    }

    async fn close(self) -> Option<&'static str> {
        let Self { watched, town, .. } = self;
        watched.close(|_| town.attempts()).await
    }
}

impl Stage {
    /// A process with other measures than the usual ones.
    pub async fn tuned(bench: Bench, aim: Option<Aim>, tuning: Tuning) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let sleep: Sleep = Arc::new(|span| Box::pin(tokio::time::sleep(span)));
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&bench.store), aim).with_time_out(TIME_OUT, sleep));
        let town = Arc::new(Town::default());
        // A year apart, so that nothing of one run is due in the next but what was overdue already.
        let year = Duration::from_secs(365 * 86_400);
        let clock = Arc::new(FixedClock::at(BEGINNING.after(year * u32::try_from(run % 1_000).unwrap_or(0))));
        let process = Process::begin(Arc::clone(&clock), |host| {
            engine(Parts {
                store: Arc::clone(&faulty) as Arc<dyn Store<Toy>>,
                courier: Arc::clone(&town) as _,
                host,
                clock: clock as _,
                dice: Arc::new(SeededDice::new(run)),
                environment: Arc::new(()),
                node: "one".to_owned(),
                tuning: Tuning { patience: Duration::from_secs(1_000), ..tuning },
            })
        });
        let watched = Watched::new(process.await, faulty, Arc::clone(&bench.store));
        Self { watched, town, bench, run, asked: AtomicU64::new(0), counted: Mutex::default() }
    }

    /// A name that no other run uses.
    pub fn name(&self, name: &str) -> String {
        format!("{name} of run {}", self.run)
    }

    /// Somebody who may ask again.
    pub fn asker(&self) -> Asker {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let input = InputId::from_bytes(Rng::new((self.run << 20) | number).bytes16());
        Asker { input, repeatable: true, fingerprint: Some([7; 16]), trace: Arc::from("scenario") }
    }

    /// Notes what a counter shows, so that [`Stage::counted`] tells what came since.
    pub async fn count_from_here(&self, counters: &[&'static str]) {
        for counter in counters {
            let sum = self.bench.probe.counter(counter).await;
            self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(counter, sum);
        }
    }

    /// What was added to a counter since [`Stage::count_from_here`].
    pub async fn counted(&self, counter: &'static str) -> i64 {
        let before = self.counted.lock().unwrap_or_else(PoisonError::into_inner).get(counter).copied();
        self.bench.probe.counter(counter).await - before.expect("a counter that was looked at before")
    }

    /// Starts a flow, whatever it takes, and once more: the repeat is told the same.
    pub async fn start<F: Flow<Domain = Toy>>(&self, start: F::Start) -> Reply<F::Outcome>
    where
        F::Start: Clone,
        F::Outcome: PartialEq,
    {
        let asker = self.asker();
        let ask = || {
            let (engine, asker, start) = (self.engine.clone(), asker.clone(), start.clone());
            async move { engine.start::<F>(asker, start).await }
        };
        let reply = self.twice::<F, _>(ask).await;
        if reply.version > 0 {
            self.watch(reply.flow);
        }
        reply
    }

    /// Asks a flow, whatever it takes, and once more: the repeat is told the same.
    pub async fn call<F: Flow<Domain = Toy>>(&self, flow: FlowId, command: F::Command) -> Reply<F::Outcome>
    where
        F::Command: Clone,
        F::Outcome: PartialEq,
    {
        let asker = self.asker();
        let ask = || {
            let (engine, asker, command) = (self.engine.clone(), asker.clone(), command.clone());
            async move { engine.call::<F>(flow, asker, command).await }
        };
        self.twice::<F, _>(ask).await
    }

    async fn twice<F, Fut>(&self, ask: impl Fn() -> Fut) -> Reply<F::Outcome>
    where
        F: Flow<Domain = Toy>,
        F::Outcome: PartialEq,
        Fut: Future<Output = Result<Reply<F::Outcome>, Fault>> + Send + 'static,
    {
        let insist = async || self.insist(&ask, |fault: &Fault| Some(fault)).await.expect("every fault is waited out");
        let (first, again) = (insist().await, insist().await);
        assert_eq!(again.outcome, first.outcome, "I3: a repeat gets the same answer");
        assert_eq!((again.flow, again.version, &again.phase), (first.flow, first.version, &first.phase));
        first
    }

    /// Lets a span pass, and whatever is due happen.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.settle().await;
    }

    /// A flow's history.
    pub async fn history(&self, flow: FlowId) -> Vec<Event> {
        self.bench.history(flow).await
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A name's or fence's number in the table of guards.
    pub async fn guard(&self, key: &str) -> Option<i64> {
        self.bench.probe.guard(key).await
    }
}
