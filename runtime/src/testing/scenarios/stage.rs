//! One engine on production's host over a store that may fail once, and whoever insists on an answer all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;

use super::host::WatchedHost;
use super::town::Town;
use crate::clock::{Clock, Timestamp};
use crate::engine::{Asker, Engine, Fault, InFlight, Parts, Reply, Task, Tuning};
use crate::flow::Flow;
use crate::id::{FlowId, InputId};
use crate::nursery::{ActorHost, Exit, Supervision, supervise};
use crate::store::{Event, OutboxRow, Store};
use crate::testing::clock::{BEGINNING, FixedClock, Rng, SeededDice};
use crate::testing::store::{Aim, Dropped, FaultyStore, Sleep};
use crate::testing::suite::Bench;
use crate::testing::toy::{Child, Errand, Faulty, Gate, Parent, Ticket, Toy, Trip};

/// Real time runs this many times faster for the engine than it thinks.
const HASTE: u32 = 100;
/// A call that hangs ends after this, in real time.
const TIME_OUT: Duration = Duration::from_millis(20);
/// How often somebody asks before giving up, and how many rounds deliveries may take.
const ROUNDS: u32 = 60;

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

/// A process under test, with its database, its clock and the world outside.
pub struct Stage {
    /// The engine.
    pub engine: Engine<Toy>,
    /// Its host.
    pub host: Arc<WatchedHost>,
    /// The world outside.
    pub town: Arc<Town>,
    /// The clock.
    pub clock: Arc<FixedClock>,
    /// The database as the engine sees it.
    pub faulty: Arc<FaultyStore<Toy>>,
    /// The database as it is.
    pub bench: Bench,
    run: u64,
    asked: AtomicU64,
    counted: Mutex<BTreeMap<&'static str, i64>>,
    flows: Mutex<BTreeSet<FlowId>>,
    supervision: Supervision,
    committer: tokio::task::JoinHandle<()>,
    exits: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// A process over this database that fails at one call. What earlier runs left there does not matter.
    pub async fn set(bench: Bench, aim: Aim) -> Self {
        Self::tuned(bench, aim, Tuning::default()).await
    }

    /// The same, with other measures.
    pub async fn tuned(bench: Bench, aim: Aim, tuning: Tuning) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let sleep: Sleep = Arc::new(|span| Box::pin(tokio::time::sleep(span)));
        let faulty = FaultyStore::new(Arc::clone(&bench.store), Some(aim)).with_time_out(TIME_OUT, sleep);
        let faulty = Arc::new(faulty);
        let exits: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&exits);
        let exit: Exit = Arc::new(move |why| noted.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_owned()));
        let actors = ActorHost::new(exit);
        let host = WatchedHost::new(Arc::clone(&actors), HASTE);
        let town = Arc::new(Town::default());
        // A year apart, so that nothing of one run is due in the next but what was overdue already.
        let year = Duration::from_secs(365 * 86_400);
        let clock = Arc::new(FixedClock::at(BEGINNING.after(year * u32::try_from(run % 1_000).unwrap_or(0))));
        let engine = engine(Parts {
            store: Arc::clone(&faulty) as Arc<dyn Store<Toy>>,
            courier: Arc::clone(&town) as _,
            host: Arc::clone(&host) as _,
            clock: Arc::clone(&clock) as _,
            dice: Arc::new(SeededDice::new(run)),
            environment: Arc::new(()),
            node: "one".to_owned(),
            tuning: Tuning { patience: Duration::from_secs(1_000), ..tuning },
        });
        let supervision = supervise(actors, Vec::new()).await.expect("a tokio runtime is there");
        let committer = keep(engine.tasks().into_iter().find(|task| task.name == "committer"));
        let (asked, counted, flows) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        Self { engine, host, town, clock, faulty, bench, run, asked, counted, flows, supervision, committer, exits }
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

    /// Has a flow looked after at the end, though nobody started it by name.
    pub fn watch(&self, flow: FlowId) {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).insert(flow);
    }

    async fn twice<F, Fut>(&self, ask: impl Fn() -> Fut) -> Reply<F::Outcome>
    where
        F: Flow<Domain = Toy>,
        F::Outcome: PartialEq,
        Fut: Future<Output = Result<Reply<F::Outcome>, Fault>> + Send + 'static,
    {
        let first = self.insist(&ask).await;
        let again = self.insist(&ask).await;
        assert_eq!(again.outcome, first.outcome, "I3: a repeat gets the same answer");
        assert_eq!((again.flow, again.version, &again.phase), (first.flow, first.version, &first.phase));
        first
    }

    /// Asks until there is an answer. A task that unwinds, and a database that is away, are what whoever asks outlives.
    async fn insist<T, Fut>(&self, ask: impl Fn() -> Fut) -> T
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        for _ in 0..ROUNDS {
            match Self::apart(ask()).await {
                Some(Ok(answer)) => return answer,
                Some(Err(Fault::Unavailable(_) | Fault::Overloaded | Fault::Contended)) | None => self.recover().await,
                Some(Err(fault)) => panic!("whoever insists gets an answer, not {fault:?}"),
            }
        }
        panic!("no answer after {ROUNDS} times");
    }

    /// Runs something in a task of its own; `None` when the fault ended that task.
    #[allow(clippy::disallowed_methods, reason = "a task that may unwind is what this is for, and it is awaited")]
    async fn apart<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Option<T> {
        match tokio::spawn(task).await {
            Ok(done) => Some(done),
            Err(unwound) if unwound.is_panic() => {
                let panic = unwound.into_panic();
                if !panic.is::<Dropped>() {
                    std::panic::resume_unwind(panic);
                }
                None
            }
            Err(cancelled) => panic!("{cancelled}"),
        }
    }

    /// Waits until the database is believed to be there again.
    async fn recover(&self) {
        self.faulty.release();
        self.clock.advance(Duration::from_secs(1));
        while !self.engine.is_available() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
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

    /// Runs both pumps until neither finds anything.
    pub async fn pump(&self) {
        for _ in 0..ROUNDS {
            let (wake, carry) = (self.engine.clone(), self.engine.clone());
            let woken = Self::apart(async move { crate::pump::tick(&wake).await }).await;
            let carried = Self::apart(async move { crate::pump::deliver(&carry).await }).await;
            self.host.quiet().await;
            if matches!((woken, carried), (Some(Ok(0)), Some(Ok(0)))) {
                return;
            }
            self.recover().await;
        }
        panic!("the pumps do not come to rest");
    }

    /// Lets a span pass, and whatever is due happen.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.settle().await;
    }

    /// The watched flows.
    pub fn flows(&self) -> Vec<FlowId> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// What the watched flows asked to have delivered.
    pub async fn deliveries(&self) -> Vec<OutboxRow> {
        let mut all = Vec::new();
        for flow in self.flows() {
            all.extend(self.bench.deliveries(flow).await);
        }
        all
    }

    async fn open(&self) -> usize {
        self.deliveries().await.iter().filter(|delivery| delivery.settled.is_none()).count()
    }

    /// What must hold at the end of every scenario, whatever failed in it; gives whether the fault was hit.
    pub async fn close(self) -> bool {
        self.settle().await;
        for flow in self.flows() {
            let row = self.bench.row(flow).await;
            assert_eq!(row.quarantined, None, "a fault of the database is no fault of the flow");
            let history = self.bench.history(flow).await;
            let versions: Vec<u64> = history.iter().map(|event| event.version).collect();
            assert_eq!(versions, (1..=row.version).collect::<Vec<_>>(), "I2: versions have no gaps");
            let phases: Vec<&str> = history.iter().map(|event| event.to.as_str()).collect();
            let from: Vec<&str> = history.iter().skip(1).map(|event| event.from.as_str()).collect();
            assert_eq!(from, phases[..phases.len() - 1], "each step begins where the one before it ended");
        }
        self.check_deliveries().await;
        let audit = self.bench.store.audit(self.engine.now()).await.expect("an audit");
        assert_eq!(audit.findings, [], "the audit finds nothing");
        self.check_rest().await;
        self.supervision.stop().await;
        self.committer.abort();
        self.faulty.hit().is_some()
    }

    /// I4 to I6, by what the world saw and what the outbox says.
    async fn check_deliveries(&self) {
        let deliveries: BTreeMap<_, OutboxRow> =
            self.deliveries().await.into_iter().map(|delivery| (delivery.id, delivery)).collect();
        let mut carried = BTreeMap::new();
        for attempt in self.town.attempts() {
            let known = deliveries.get(&attempt.id).unwrap_or_else(|| panic!("I4: {attempt:?} was never committed"));
            assert!(known.attempts >= attempt.number, "attempts are counted before they are made: {known:?}");
            let (times, before) = carried.entry(attempt.id).or_insert((0, attempt.delivery.clone()));
            *times += 1;
            assert_eq!(*before, attempt.delivery, "I6: a repeat carries the same");
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

    /// No place, no permit, no item, no shell is left in the engine's hands.
    async fn check_rest(&self) {
        self.host.quiet().await;
        self.clock.advance(Duration::from_secs(1));
        self.engine.passivate_idle(Duration::ZERO);
        for _ in 0..1_000 {
            if self.engine.in_flight().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.engine.in_flight(), InFlight::default(), "nothing is left in flight");
        let exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*exits, Vec::<String>::new(), "one fault ends no process");
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

/// Begins a task again whenever it ends, until it is aborted.
#[allow(clippy::disallowed_methods, reason = "whoever calls aborts it")]
fn keep(task: Option<Task>) -> tokio::task::JoinHandle<()> {
    let task = task.expect("the engine has a committer");
    tokio::spawn(async move {
        loop {
            if let Err(panic) = AssertUnwindSafe((task.begin)()).catch_unwind().await {
                assert!(panic.is::<Dropped>(), "the committer panicked by itself");
            }
        }
    })
}
