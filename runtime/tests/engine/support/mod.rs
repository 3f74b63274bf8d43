//! A house is one process: an engine on production's host, over a store that it may share with others.

pub(crate) mod between;
pub(crate) mod flows;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_runtime::engine::{InFlight, Reply};
use cairn_runtime::nursery::{ActorHost, Supervision, supervise};
use cairn_runtime::store::{Front, OutboxRow, Row, Store};
use cairn_runtime::testing::clock::{FixedClock, Rng, SeededDice};
use cairn_runtime::testing::scenarios::host::WatchedHost;
use cairn_runtime::testing::scenarios::stage;
use cairn_runtime::testing::scenarios::town::Town;
use cairn_runtime::testing::store::{Aim, Dropped, FaultyStore, Mode, SimStore};
use cairn_runtime::testing::toy::{Child, Errand, Faulty, Gate, Parent, Ticket, Toy, Trip, faulty, ticket};
use cairn_runtime::{Asker, Engine, Fault, Flow, FlowId, InputId, Parts, Tuning, pump};

use self::between::Between;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// What a house is built of. The tasks are those of the engine that run by themselves; the others are driven.
pub(crate) struct Plan {
    pub(crate) sim: Arc<SimStore<Toy>>,
    pub(crate) store: Arc<dyn Store<Toy>>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) node: &'static str,
    pub(crate) tuning: Tuning,
    pub(crate) tasks: &'static [&'static str],
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) fn over(sim: &Arc<SimStore<Toy>>) -> Self {
        Self {
            sim: Arc::clone(sim),
            store: Arc::clone(sim) as _,
            clock: Arc::default(),
            node: "one",
            tuning: Tuning::default(),
            tasks: &["committer"],
            seed: 1,
        }
    }

    pub(crate) fn new() -> Self {
        Self::over(&Arc::new(SimStore::new()))
    }

    /// With somebody standing before the store in memory.
    pub(crate) fn between(mut self) -> (Self, Arc<Between>) {
        let between = Arc::new(Between::new(Arc::clone(&self.sim) as _));
        self.store = Arc::new(Front(Arc::clone(&between)));
        (self, between)
    }

    /// With a store that fails where it is told to.
    pub(crate) fn faulty(mut self) -> (Self, Arc<FaultyStore<Toy>>) {
        let faulty = Arc::new(FaultyStore::new(Arc::clone(&self.sim) as _, None));
        self.store = Arc::clone(&faulty) as _;
        (self, faulty)
    }

    /// Only an engine, on a host of one's own; its committer runs.
    pub(crate) fn hosted(self, fixture: &Fixture, host: Arc<dyn cairn_runtime::Host>) -> Engine<Toy> {
        let engine = stage::engine(Parts {
            store: self.store,
            courier: Arc::clone(&fixture.town) as _,
            host,
            clock: self.clock,
            dice: Arc::new(SeededDice::new(self.seed)),
            environment: Arc::new(()),
            node: self.node.to_owned(),
            tuning: self.tuning,
        });
        let committer = engine.tasks().into_iter().find(|task| task.name == "committer").unwrap();
        tokio::spawn((committer.begin)());
        engine
    }

    pub(crate) async fn build(self) -> Fixture {
        let exits: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&exits);
        let actors = ActorHost::new(Arc::new(move |why: &str| noted.lock().unwrap().push(why.to_owned())));
        let host = WatchedHost::new(Arc::clone(&actors), 1);
        let town = Arc::new(Town::default());
        let engine = Engine::<Toy>::builder(Parts {
            store: self.store,
            courier: Arc::clone(&town) as _,
            host: Arc::clone(&host) as _,
            clock: Arc::clone(&self.clock) as _,
            dice: Arc::new(SeededDice::new(self.seed)),
            environment: Arc::new(()),
            node: self.node.to_owned(),
            tuning: self.tuning,
        })
        .flow::<Ticket>()
        .flow::<Gate>()
        .flow::<Parent>()
        .flow::<Child>()
        .flow::<Trip>()
        .flow::<Errand>()
        .flow::<Faulty>()
        .flow::<flows::Herald>()
        .flow::<flows::Metronome>()
        .flow::<flows::Elder>()
        .build();
        let wanted = |task: &cairn_runtime::engine::Task| self.tasks.contains(&task.name);
        let tasks = engine.tasks().into_iter().filter(wanted).collect();
        let supervision = supervise(actors, tasks).await.unwrap();
        Fixture { engine, host, town, clock: self.clock, sim: self.sim, supervision, exits }
    }
}

pub(crate) struct Fixture {
    pub(crate) engine: Engine<Toy>,
    pub(crate) host: Arc<WatchedHost>,
    pub(crate) town: Arc<Town>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) sim: Arc<SimStore<Toy>>,
    pub(crate) supervision: Supervision,
    pub(crate) exits: Arc<Mutex<Vec<String>>>,
}

pub(crate) type Told<F> = Result<Reply<<F as Flow>::Outcome>, Fault>;

impl Fixture {
    pub(crate) async fn new() -> Self {
        Plan::new().build().await
    }

    /// Another process over the same store, with the same clock.
    pub(crate) async fn neighbour(&self, node: &'static str) -> Self {
        let seed = Rng::new(node.len() as u64).next_u64();
        let plan = Plan { clock: Arc::clone(&self.clock), node, seed, ..Plan::over(&self.sim) };
        plan.build().await
    }

    pub(crate) async fn start<F: Flow<Domain = Toy>>(&self, start: F::Start) -> Told<F> {
        self.engine.start::<F>(self.engine.asker("test"), start).await
    }

    pub(crate) async fn call<F: Flow<Domain = Toy>>(&self, flow: FlowId, command: F::Command) -> Told<F> {
        self.engine.call::<F>(flow, self.engine.asker("test"), command).await
    }

    /// Asks in a task of its own, as a request does.
    pub(crate) fn calling<F: Flow<Domain = Toy>>(
        &self,
        flow: FlowId,
        asker: Asker,
        command: F::Command,
    ) -> tokio::task::JoinHandle<Told<F>> {
        let engine = self.engine.clone();
        tokio::spawn(async move { engine.call::<F>(flow, asker, command).await })
    }

    /// A ticket that is good for an hour.
    pub(crate) async fn ticket(&self, name: &str) -> FlowId {
        let issue = ticket::Issue { name: name.to_owned(), fence: None, lasts: HOUR };
        self.start::<Ticket>(issue).await.unwrap().flow
    }

    pub(crate) async fn stamp(&self, flow: FlowId) -> Told<Ticket> {
        self.call::<Ticket>(flow, ticket::Ask::Stamp).await
    }

    pub(crate) fn stamping(&self, flow: FlowId) -> tokio::task::JoinHandle<Told<Ticket>> {
        self.calling::<Ticket>(flow, self.engine.asker("test"), ticket::Ask::Stamp)
    }

    /// A flow with these defects.
    pub(crate) async fn faulty(&self, defects: faulty::Defects) -> FlowId {
        self.start::<Faulty>(faulty::Begin { defects, ..faulty::Begin::default() }).await.unwrap().flow
    }

    pub(crate) fn row(&self, flow: FlowId) -> Row {
        self.sim.inspect(|tables| tables.rows.get(&flow).unwrap().row.clone())
    }

    pub(crate) fn versions(&self, flow: FlowId) -> Vec<u64> {
        self.sim.inspect(|tables| tables.history(flow)).iter().map(|event| event.version).collect()
    }

    pub(crate) fn sum(&self, counter: &str) -> i64 {
        use cairn_runtime::testing::toy::ToyWrite;
        let written = self.sim.written();
        written.iter().map(|(_, ToyWrite::Add { counter: of, by })| if of == counter { *by } else { 0 }).sum()
    }

    /// The one delivery of a flow.
    pub(crate) fn delivery(&self, flow: FlowId) -> OutboxRow {
        let all = self.sim.inspect(|tables| tables.deliveries(flow));
        let [one] = all.as_slice() else { panic!("one delivery, not {all:?}") };
        one.clone()
    }

    /// Wakes what is due, once.
    pub(crate) async fn tick(&self) -> usize {
        let woken = pump::tick(&self.engine).await.unwrap();
        self.host.quiet().await;
        woken
    }

    /// Sets on its way what is due, once, and waits until it has come to some end.
    pub(crate) async fn deliver(&self) -> usize {
        let carried = pump::deliver(&self.engine).await.unwrap();
        self.host.quiet().await;
        carried
    }

    /// Lets a span pass, then delivers.
    pub(crate) async fn deliver_after(&self, span: Duration) -> usize {
        self.clock.advance(span);
        self.deliver().await
    }

    /// Nothing is left in hand once the idle shells are gone, and nobody gave up.
    pub(crate) async fn is_at_rest(&self) {
        self.host.quiet().await;
        until("rest", || {
            self.clock.advance(Duration::from_millis(1));
            self.engine.passivate_idle(Duration::ZERO);
            self.engine.in_flight().slots + self.engine.in_flight().shells == 0
        })
        .await;
        assert_eq!(self.engine.in_flight(), InFlight::default());
        assert_eq!(*self.exits.lock().unwrap(), Vec::<String>::new());
        assert_eq!(self.sim.violations(), Vec::<String>::new());
    }
}

/// Lets others run until something holds. No time passes.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what}: it never came to that");
}

/// An asker who may repeat: the same number and body are the same request.
pub(crate) fn repeating(number: u64, body: u8) -> Asker {
    let input = InputId::from_bytes(Rng::new(number).bytes16());
    Asker { input, repeatable: true, fingerprint: Some([body; 16]), trace: Arc::from("test") }
}

/// The n-th call of one kind.
pub(crate) fn nth(nth: u64, call: &'static str, mode: Mode) -> Aim {
    Aim { nth, call: Some(call), mode }
}

/// Runs what a crash is to end; whether it did.
pub(crate) async fn crashes<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> bool {
    match tokio::spawn(task).await {
        Ok(_) => false,
        Err(ended) => {
            assert!(ended.into_panic().is::<Dropped>(), "another panic than the one that was planned");
            true
        }
    }
}
