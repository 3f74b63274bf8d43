//! What a simulation is told of the flows it runs: what clients ask, what the world answers, and what must be true.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;
use crate::engine::{Asker, Builder, Engine, Fault, Method, Reply};
use crate::flow::{Domain, Flow};
use crate::id::{FlowId, InputId};
use crate::outbox::DeliveryAttempt;
use crate::store::{Row, Verb};
use crate::testing::clock::Rng;
use crate::testing::store::{SimStore, Tables};

/// The clients of a simulation and the world around it, for one domain.
///
/// What the engine promises for every flow is checked without it; here stands what only the domain can know. Each
/// method is called in the one thread of the simulation, and must draw its chance from where it is given, or a seed
/// would not replay.
pub trait Workload<D: Domain>: Send + 'static {
    /// Makes the kinds of flow known.
    fn register(&self, builder: Builder<D>) -> Builder<D>;

    /// The key ring and the settings.
    fn environment(&self) -> Arc<D::Environment>;

    /// What a client does next. It is asked again only when its last order has come to an end.
    fn next(&mut self, client: usize, desk: &mut Desk<'_, D>) -> Next<D>;

    /// A client's order has come to its end: an outcome, or a fault that no repeat would mend.
    fn told(&mut self, client: usize, answer: &Result<Told, Fault>) -> Heard;

    /// A delivery has its effect in the world, perhaps again. A repeat must be answered as the first was.
    fn carried(&mut self, carried: &DeliveryAttempt<D>, rng: &mut Rng) -> D::Answer;

    /// Whether this flow may be in quarantine. Nothing that happens to nodes and stores brings an innocent flow there.
    fn may_be_set_aside(&self, _row: &Row) -> bool {
        false
    }

    /// What the operator does, when all is calm, with a flow in quarantine; `None`: it stays there, and what waits for
    /// it must not be the measure of I5.
    fn operate(&mut self, _row: &Row, _now: Timestamp) -> Option<Verb> {
        None
    }

    /// What is wrong in the tables now, in sentences; looked for now and then amid everything (I8).
    fn amiss(&mut self, tables: &Tables<D>) -> Vec<String>;

    /// What is wrong in the tables when nothing is under way and nothing due. Asked at the end, and after each
    /// leap of the clock.
    fn amiss_at_rest(&mut self, tables: &Tables<D>) -> Vec<String> {
        self.amiss(tables)
    }
}

/// What a workload sees when it plans. The tables may have moved before the order arrives: that is the point.
pub struct Desk<'a, D: Domain> {
    /// Chance.
    pub rng: &'a mut Rng,
    /// The store: `inspect` looks at all of it.
    pub store: &'a Arc<SimStore<D>>,
    /// The common clock.
    pub now: Timestamp,
}

/// What a client does next.
pub enum Next<D: Domain> {
    /// It asks.
    Ask(Order<D>),
    /// It waits this long, and looks again.
    Rest(Duration),
    /// It goes home.
    Leave,
}

/// What an outcome proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The input took effect: its event is in the history, or a promise is broken.
    Moved,
    /// It may have or not.
    Anything,
    /// This must not have been told.
    Wrong(String),
}

/// An outcome without its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The flow, or the act's id.
    pub flow: FlowId,
    /// The version after the input.
    pub version: u64,
    /// The phase after the input.
    pub phase: String,
    /// What was said.
    pub outcome: serde_json::Value,
    /// Whether it had been committed before.
    pub repeated: bool,
    /// The way it went.
    pub method: Method,
}

impl Told {
    /// Forgets the type of a reply.
    ///
    /// # Errors
    /// The reply's own fault.
    pub fn of<O: serde::Serialize>(reply: Result<Reply<O>, Fault>) -> Result<Self, Fault> {
        let Reply { flow, outcome, version, phase, method, repeated } = reply?;
        let outcome = serde_json::to_value(outcome).map_err(|why| Fault::Defect(why.to_string()))?;
        Ok(Self { flow, version, phase, outcome, repeated, method })
    }

    /// The outcome with its type; `None` when it is another flow's.
    pub fn says<O: serde::de::DeserializeOwned>(&self) -> Option<O> {
        serde_json::from_value(self.outcome.clone()).ok()
    }
}

type Ask<D> = dyn Fn(Engine<D>, Asker) -> BoxFuture<'static, Result<Told, Fault>> + Send + Sync;

/// One request of a client, which can be made again with the same asker, on whichever node.
pub struct Order<D: Domain> {
    /// What it is, for the chronicle.
    pub name: String,
    /// Its input id, where the workload must know it beforehand; else one is drawn.
    pub input: Option<InputId>,
    ask: Arc<Ask<D>>,
}

impl<D: Domain> Clone for Order<D> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), input: self.input, ask: Arc::clone(&self.ask) }
    }
}

impl<D: Domain> fmt::Debug for Order<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<D: Domain> Order<D> {
    /// A use case of the product, called as a service would call it.
    pub fn new<F, A>(name: &str, ask: F) -> Self
    where
        F: Fn(Engine<D>, Asker) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Told, Fault>> + Send + 'static,
    {
        Self { name: name.to_owned(), input: None, ask: Arc::new(move |engine, asker| Box::pin(ask(engine, asker))) }
    }

    /// Starts a flow.
    pub fn start<F: Flow<Domain = D>>(name: &str, make: impl Fn() -> F::Start + Send + Sync + 'static) -> Self {
        let make = Arc::new(make);
        Self::new(name, move |engine: Engine<D>, asker| {
            let make = Arc::clone(&make);
            async move { Told::of(engine.start::<F>(asker, make()).await) }
        })
    }

    /// Asks a flow.
    pub fn call<F: Flow<Domain = D>>(
        name: &str,
        flow: FlowId,
        make: impl Fn() -> F::Command + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(make);
        Self::new(&format!("{name} {flow}"), move |engine: Engine<D>, asker| {
            let make = Arc::clone(&make);
            async move { Told::of(engine.call::<F>(flow, asker, make()).await) }
        })
    }

    /// With this input id.
    #[must_use]
    pub fn with_input(mut self, input: InputId) -> Self {
        self.input = Some(input);
        self
    }

    pub(super) fn ask(&self, engine: Engine<D>, asker: Asker) -> BoxFuture<'static, Result<Told, Fault>> {
        (self.ask)(engine, asker)
    }
}
