//! The crash sweep: a scenario is run again and again over a store that fails at its first call, then at its second and so
//! on, in one of four ways, until a run is not hit any more. What must hold of every flow is checked after each run.
//!
//! A domain brings [`Scenario`]s and, as a [`Subject`], its process over a place; [`Watched`] has what every subject needs.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is here is part of tests that other crates run: it asserts, and a panic is its verdict"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::process::{Process, apart};
use super::store::{Aim, FaultyStore, Mode};
use crate::engine::Fault;
use crate::flow::Domain;
use crate::id::{DeliveryId, FlowId};
use crate::store::{OutboxRow, Store};

/// How often somebody asks before giving up, and how many rounds deliveries may take.
const ROUNDS: u32 = 60;

/// One story, told to a subject.
pub struct Scenario<S> {
    /// Its name.
    pub name: &'static str,
    /// The fewest calls of the store that fail in a sweep of it: with fewer it would show nothing.
    pub calls: u64,
    /// Runs it, and asserts what must hold in it besides what holds everywhere ([`Subject::close`]).
    pub run: for<'a> fn(&'a S) -> BoxFuture<'a, ()>,
}

impl<S> fmt::Debug for Scenario<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A process over a store that may fail once.
pub trait Subject: Sized {
    /// The database, and whatever else outlives a run.
    type Place;

    /// A process that fails at this call, or at none. What earlier runs left in the place does not matter to it.
    fn set(place: &Self::Place, aim: Option<Aim>) -> impl Future<Output = Self>;

    /// Asserts what must hold at the end of every run, whatever failed in it; gives the method of the store that did.
    fn close(self) -> impl Future<Output = Option<&'static str>>;
}

/// Runs a scenario once untouched, and then with each of its store calls failing in one mode; gives how often each method
/// of the store was hit.
///
/// # Panics
/// When something does not hold, when too few calls were hit, or when a scenario is still hit at its thousandth call: it
/// does not end by itself.
pub async fn sweep<S: Subject>(place: &S::Place, scenario: &Scenario<S>, mode: Mode) -> BTreeMap<&'static str, u64> {
    let began = Instant::now();
    let mut hits = BTreeMap::new();
    assert_eq!(tell(place, scenario, None).await, None);
    for nth in 1..=1_000 {
        let Some(call) = tell(place, scenario, Some(Aim { nth, call: None, mode })).await else {
            let all: u64 = hits.values().sum();
            eprintln!("{scenario:?}, {mode:?}: {all} calls failed in {:.1?}: {hits:?}", began.elapsed());
            assert!(all >= scenario.calls, "{all} calls show little of {scenario:?}");
            return hits;
        };
        *hits.entry(call).or_default() += 1;
    }
    panic!("{scenario:?}: a scenario of a thousand store calls does not end by itself");
}

async fn tell<S: Subject>(place: &S::Place, scenario: &Scenario<S>, aim: Option<Aim>) -> Option<&'static str> {
    let _named = Named(scenario.name, aim);
    let subject = S::set(place, aim).await;
    (scenario.run)(&subject).await;
    subject.close().await
}

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

/// One attempt at a delivery, as the courier saw it.
pub struct Attempt<D: Domain> {
    /// The delivery.
    pub id: DeliveryId,
    /// Who asked for it.
    pub flow: FlowId,
    /// The number of the attempt as the engine counts.
    pub number: u32,
    /// What was carried.
    pub delivery: D::Delivery,
}

impl<D: Domain> Clone for Attempt<D> {
    fn clone(&self) -> Self {
        Self { delivery: self.delivery.clone(), ..*self }
    }
}

impl<D: Domain> fmt::Debug for Attempt<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} at {} of {}: {:?}", self.number, self.id, self.flow, self.delivery)
    }
}

/// A process over a store that may fail once, with the flows that are looked after at the end.
pub struct Watched<D: Domain> {
    /// The process.
    pub process: Process<D>,
    /// The database as the engine sees it.
    pub faulty: Arc<FaultyStore<D>>,
    /// The database as it is.
    pub real: Arc<dyn Store<D>>,
    flows: Mutex<BTreeSet<FlowId>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

/// What a client was told of a flow, and holds the process to.
#[derive(Clone, Debug)]
struct Acknowledged {
    flow: FlowId,
    version: u64,
    phase: String,
}

impl<D: Domain> Deref for Watched<D> {
    type Target = Process<D>;

    fn deref(&self) -> &Process<D> {
        &self.process
    }
}

impl<D: Domain> Watched<D> {
    /// Watches a process.
    pub fn new(process: Process<D>, faulty: Arc<FaultyStore<D>>, real: Arc<dyn Store<D>>) -> Self {
        Self { process, faulty, real, flows: Mutex::default(), acknowledged: Mutex::default() }
    }

    /// Has a flow looked after at the end.
    pub fn watch(&self, flow: FlowId) {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(flow);
    }

    /// Remembers what a client was told.
    pub fn acknowledge(&self, flow: FlowId, version: u64, phase: &str) {
        let told = Acknowledged { flow, version, phase: phase.to_owned() };
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        self.watch(flow);
    }

    /// Asks until there is an answer. A task that unwinds, and a database that is away, are what a client outlives.
    /// `fault` finds the engine's fault in an error, if the error is one.
    ///
    /// # Errors
    /// An answer that is an error of the domain.
    pub async fn insist<T, E, F>(&self, ask: impl Fn() -> F, fault: impl Fn(&E) -> Option<&Fault>) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        for _ in 0..ROUNDS {
            let Some(answer) = apart(ask()).await else {
                self.recover().await;
                continue;
            };
            match answer.as_ref().err().and_then(&fault) {
                None => return answer,
                Some(Fault::Unavailable(_) | Fault::Overloaded | Fault::Contended) => self.recover().await,
                Some(fault) => panic!("a client that insists gets an answer, not {fault:?}"),
            }
        }
        panic!("no answer after {ROUNDS} times");
    }

    /// Waits until the database is believed to be there again.
    async fn recover(&self) {
        self.faulty.release();
        while !self.engine.is_available() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs both pumps until neither finds anything.
    pub async fn pump(&self) {
        for _ in 0..ROUNDS {
            let (wake, carry) = (self.engine.clone(), self.engine.clone());
            let woken = apart(async move { crate::pump::tick(&wake).await }).await;
            let carried = apart(async move { crate::pump::deliver(&carry).await }).await;
            self.host.quiet().await;
            if matches!((woken, carried), (Some(Ok(0)), Some(Ok(0)))) {
                return;
            }
            self.recover().await;
        }
        panic!("the pumps do not come to rest");
    }

    /// Lets time pass and both pumps run until nothing that the watched flows asked for is open.
    pub async fn settle(&self) {
        for _ in 0..ROUNDS {
            self.pump().await;
            if self.open().await == 0 {
                return;
            }
            self.clock.advance(Duration::from_secs(30));
        }
        panic!("I5: {} deliveries neither arrive nor end", self.open().await);
    }

    /// The watched flows.
    pub fn flows(&self) -> Vec<FlowId> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// What the watched flows asked to have delivered.
    pub async fn deliveries(&self) -> Vec<OutboxRow> {
        let mut all = Vec::new();
        for flow in self.flows() {
            all.extend(self.real.deliveries(flow).await.expect("a look"));
        }
        all
    }

    async fn open(&self) -> usize {
        self.deliveries().await.iter().filter(|delivery| delivery.settled.is_none()).count()
    }

    /// Asserts what must hold of every flow; gives the method of the store that failed. `attempts` are those that couriers
    /// have made for the watched flows. Where nothing failed, the whole database is audited.
    pub async fn close(self, attempts: impl Fn(&[FlowId]) -> Vec<Attempt<D>>) -> Option<&'static str> {
        self.settle().await;
        let told = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for flow in self.flows() {
            let row = self.real.load(flow).await.expect("a look").expect("a watched flow has a row");
            assert_eq!(row.quarantined, None, "a fault of the database is no fault of the flow");
            let history = self.real.history(flow).await.expect("a look");
            let versions: Vec<u64> = history.iter().map(|event| event.version).collect();
            assert_eq!(versions, (1..=row.version).collect::<Vec<_>>(), "I2: versions have no gaps");
            let inputs: BTreeSet<_> = history.iter().map(|event| event.input).collect();
            assert_eq!(inputs.len(), history.len(), "I3: an input counts once");
            for (before, after) in history.iter().zip(history.iter().skip(1)) {
                assert_eq!(before.to, after.from, "each step begins where the one before it ended");
            }
            for told in told.iter().filter(|told| told.flow == flow) {
                let recorded = history.iter().find(|event| event.version == told.version);
                assert_eq!(recorded.map(|event| &event.to), Some(&told.phase), "I1: {told:?} is on record");
            }
        }
        self.check_deliveries(&attempts(&self.flows())).await;
        let hit = self.faulty.hit();
        if hit.is_none() {
            let audit = self.real.audit(self.engine.now()).await.expect("an audit");
            assert_eq!(audit.findings, [], "the audit finds nothing");
        }
        self.process.end().await;
        hit
    }

    /// I4 to I6, by what couriers saw and what the outbox says.
    async fn check_deliveries(&self, attempts: &[Attempt<D>]) {
        let deliveries: BTreeMap<DeliveryId, OutboxRow> =
            self.deliveries().await.into_iter().map(|delivery| (delivery.id, delivery)).collect();
        let mut carried: BTreeMap<DeliveryId, (u32, String)> = BTreeMap::new();
        for attempt in attempts {
            let Attempt { id, number, delivery, .. } = attempt;
            let known = deliveries.get(id).unwrap_or_else(|| panic!("I4: {attempt:?} was never committed"));
            assert!(known.attempts >= *number, "attempts are counted before they are made: {known:?}");
            assert_eq!(D::kind(delivery), known.kind, "I4: what is carried is what was committed");
            let content = serde_json::to_string(delivery).expect("a delivery is JSON");
            let (times, before) = carried.entry(*id).or_insert_with(|| (0, content.clone()));
            *times += 1;
            assert_eq!(*before, content, "I6: a repeat carries the same");
            assert!(!known.once || *times == 1, "what may happen once was tried again: {known:?}");
        }
        for delivery in deliveries.values() {
            assert!(!delivery.dead || !delivery.note.is_empty(), "what is dead says why: {delivery:?}");
            let inside = matches!(delivery.kind.as_str(), "signal" | "answer");
            assert!(
                inside || delivery.dead || carried.contains_key(&delivery.id),
                "I5: {delivery:?} is said to have arrived, and nobody carried it"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::*;
    use crate::testing::store::{MODES, SimStore, Sleep};
    use crate::testing::suite::given::start;
    use crate::testing::toy::Toy;

    struct Bare(FaultyStore<Toy>);

    impl Subject for Bare {
        type Place = ();

        async fn set((): &(), aim: Option<Aim>) -> Self {
            let at_once: Sleep = Arc::new(|_| Box::pin(std::future::ready(())));
            let inside = Arc::new(SimStore::<Toy>::new());
            Self(FaultyStore::new(inside, aim).with_time_out(Duration::from_millis(5), at_once))
        }

        async fn close(self) -> Option<&'static str> {
            self.0.hit()
        }
    }

    async fn two_commits_and_a_ping(Bare(store): &Bare) {
        for number in 1..=2 {
            let _ = AssertUnwindSafe(store.commit(&[start(number).item])).catch_unwind().await;
        }
        let _ = AssertUnwindSafe(store.ping()).catch_unwind().await;
    }

    fn scenario(calls: u64) -> Scenario<Bare> {
        Scenario { name: "two commits and a ping", calls, run: |bare| Box::pin(two_commits_and_a_ping(bare)) }
    }

    #[tokio::test]
    async fn a_sweep_hits_every_call_in_every_mode_and_ends() {
        for mode in MODES {
            assert_eq!(sweep(&(), &scenario(3), mode).await, BTreeMap::from([("commit", 2), ("ping", 1)]));
        }
    }

    #[tokio::test]
    #[should_panic(expected = "3 calls show little")]
    async fn a_sweep_of_too_few_calls_shows_nothing() {
        sweep(&(), &scenario(4), Mode::ErrorBefore).await;
    }
}
