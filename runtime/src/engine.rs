//! The engine as one value: store, committer, slots, clock, dice, world and the registry of kinds of flow.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};

use crate::clock::{Clock, Dice, Timestamp, derive_bytes};
use crate::committer::Committer;
use crate::crash::Point;
use crate::flow::{Domain, Flow};
use crate::id::{FlowId, Id, InputId};
use crate::outbox::{Courier, Outbox};
use crate::router::{Kind, Of, Slots};
use crate::shell::{Body, Mailbox};
use crate::store::{Store, StoreFault};
use crate::wait::Waits;

/// Why a command has no outcome. What the world is told of it is the caller's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no such flow.
    #[error("there is no such flow")]
    NotFound,
    /// The flow is set aside for the operator.
    #[error("the flow is in quarantine")]
    Quarantined,
    /// An operator has ended the flow: it will never take anything any more.
    #[error("the operator has ended the flow")]
    Ended,
    /// The database is away, or it could not be learnt in time whether the step is durable. A repeat is safe.
    #[error("not available: {0}")]
    Unavailable(String),
    /// Too much is waiting already.
    #[error("too much is waiting")]
    Overloaded,
    /// There is no room on the disk.
    #[error("no room: {0}")]
    Storage(String),
    /// Eight times in a row somebody else was faster.
    #[error("contended")]
    Contended,
    /// The same idempotency key came with another request.
    #[error("another request has this key")]
    Mismatch,
    /// The delivery that this input settles has been settled.
    #[error("settled before")]
    Settled,
    /// A defect of ours: a decision panicked, or the database refused what we wrote.
    #[error("a defect: {0}")]
    Defect(String),
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::Unavailable(why) | StoreFault::Ambiguous(why) | StoreFault::SyncFailed(why) => {
                Self::Unavailable(why)
            }
            StoreFault::Conflict(why) => Self::Unavailable(why),
            StoreFault::Unexpected(why) => Self::Defect(why),
            StoreFault::Full(why) => Self::Storage(why),
        }
    }
}

/// Which way a command went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Through the flow's shell.
    Actor,
    /// Without one, because none could be had. As safe: the row's version is the judge.
    Direct,
}

/// What the asker gets.
#[derive(Clone, Debug)]
pub struct Reply<O> {
    /// The flow, or the act's id.
    pub flow: FlowId,
    /// What it said.
    pub outcome: O,
    /// The flow's version after the input.
    pub version: u64,
    /// Its phase after the input.
    pub phase: String,
    /// The way it went.
    pub method: Method,
    /// This input had been committed before; the outcome is the one of then.
    pub repeated: bool,
}

/// Who asks: the identity of an input, and what is remembered with it.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The id of the input.
    pub input: InputId,
    /// Look whether it was committed before. Set for ids that are derived from an idempotency key.
    pub repeatable: bool,
    /// A keyed hash of the request; of its passwords at most what is as dear to guess at as their hashes.
    pub fingerprint: Option<[u8; 16]>,
    /// The request id, for history and logs.
    pub trace: Arc<str>,
}

/// Bounds and spans of the engine. The defaults are what production uses.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Commands in flight at once on this node.
    pub commands: usize,
    /// Messages that wait in front of one flow.
    pub per_flow: usize,
    /// Items in the committer's queue.
    pub queue: usize,
    /// Items in one transaction.
    pub batch: usize,
    /// Idle shells go after this.
    pub idle: Duration,
    /// Shells above this number go sooner.
    pub shells: usize,
    /// A caller waits this long for a shell before it goes without one.
    pub patience: Duration,
    /// How long a delivery or a due flow stays with the node that claimed it.
    pub claim: Duration,
    /// How often the outbox and the wake pump look by themselves.
    pub poll: Duration,
    /// Deliveries of one lane in the hands of this node at once; a lane may have less room.
    pub deliveries: usize,
    /// How long the fate of an ambiguous commit is asked for.
    pub ambiguity: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            commands: 10_000,
            per_flow: 64,
            queue: 8_192,
            batch: 256,
            idle: Duration::from_secs(60),
            shells: 50_000,
            patience: Duration::from_secs(10),
            claim: Duration::from_secs(20),
            poll: Duration::from_secs(1),
            deliveries: 1_024,
            ambiguity: Duration::from_secs(8),
        }
    }
}

/// Where tasks, timers and shells live: ractor and tokio in production, a seeded scheduler in the simulation.
pub trait Host: Send + Sync + 'static {
    /// Runs a task that nobody waits for.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Ends after a span.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
    /// Gives a shell a mailbox and someone who watches it; `None` when that cannot be had now.
    fn hatch(&self, flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>>;
    /// Ends the process: what memory believes may not be on disk.
    fn abort(&self, why: &str);
    /// A named place is passed; a test's host may do its worst there.
    fn pass(&self, _point: Point) {}
}

/// The parts of an engine that differ between production, tests and the simulation.
pub struct Parts<D: Domain> {
    /// The database.
    pub store: Arc<dyn Store<D>>,
    /// Who carries deliveries out of the house.
    pub courier: Arc<dyn Courier<D>>,
    /// Where tasks and shells live.
    pub host: Arc<dyn Host>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub dice: Arc<dyn Dice>,
    /// The key ring and the settings.
    pub world: Arc<D::World>,
    /// The name of this node, which no other process has or ever had: claims are told apart by it.
    pub node: String,
    /// Bounds and spans.
    pub tuning: Tuning,
}

pub(crate) struct Inner<D: Domain> {
    pub(crate) store: Arc<dyn Store<D>>,
    pub(crate) committer: Committer<D>,
    pub(crate) outbox: Outbox<D>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) waits: Waits,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) node: Arc<str>,
    pub(crate) tuning: Tuning,
    pub(crate) admitted: Semaphore,
    pub(crate) due: Notify,
    pub(crate) pumping: tokio::sync::Mutex<()>,
    /// A claim of due flows whose answer was lost.
    pub(crate) unanswered: std::sync::Mutex<Option<crate::store::Claim>>,
    world: RwLock<Arc<D::World>>,
    kinds: HashMap<&'static str, Arc<dyn Kind<D>>>,
    available: AtomicBool,
    returns: AtomicU64,
    draining: AtomicBool,
    defects: AtomicU64,
}

/// The engine. A clone is another handle of the same.
pub struct Engine<D: Domain>(pub(crate) Arc<Inner<D>>);

impl<D: Domain> Clone for Engine<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Domain> fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.0.node)
    }
}

/// Registers kinds of flow, then makes the engine.
pub struct Builder<D: Domain> {
    parts: Parts<D>,
    kinds: HashMap<&'static str, Arc<dyn Kind<D>>>,
}

impl<D: Domain> Builder<D> {
    /// Makes a kind of flow known, so that it can be woken, told and answered.
    #[must_use]
    pub fn flow<F: Flow<Domain = D>>(mut self) -> Self {
        self.kinds.insert(F::NAME, Arc::new(Of::<F>::new()));
        self
    }

    /// The engine. Nothing of it runs until its tasks do: see [`Engine::tasks`].
    pub fn build(self) -> Engine<D> {
        let Parts { store, courier, host, clock, dice, world, node, tuning } = self.parts;
        metrics::gauge!(crate::telemetry::DATABASE_AVAILABLE).set(1.0);
        crate::telemetry::begin::<D>(self.kinds.keys());
        Engine(Arc::new(Inner {
            committer: Committer::new(tuning.queue),
            outbox: Outbox::new(courier, tuning.deliveries),
            slots: Arc::new(Slots::new(tuning.per_flow, Arc::clone(&clock))),
            waits: Waits::default(),
            admitted: Semaphore::new(tuning.commands),
            due: Notify::new(),
            pumping: tokio::sync::Mutex::new(()),
            unanswered: std::sync::Mutex::default(),
            world: RwLock::new(world),
            kinds: self.kinds,
            available: AtomicBool::new(true),
            returns: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            defects: AtomicU64::new(0),
            store,
            host,
            clock,
            dice,
            node: Arc::from(node),
            tuning,
        }))
    }
}

/// What a node has in hand. What stays when all is quiet is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InHand {
    /// Commands that were admitted and have no outcome yet.
    pub commands: usize,
    /// Shells that are alive or on their way.
    pub shells: usize,
    /// Slots that are not vacant.
    pub slots: usize,
    /// Places taken among the deliveries in hand.
    pub deliveries: usize,
    /// Items that wait for the committer.
    pub queued: usize,
    /// Flows for whose next version somebody waits.
    pub waits: usize,
}

impl InHand {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A task of the engine that must run for as long as the process does.
#[derive(Clone)]
pub struct Task {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// Begins it. Begun twice, the second waits until the first has ended.
    pub begin: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.name).finish()
    }
}

impl<D: Domain> Engine<D> {
    /// Begins to make an engine.
    pub fn builder(parts: Parts<D>) -> Builder<D> {
        Builder { parts, kinds: HashMap::new() }
    }

    /// The tasks that bring the engine to life. Whoever runs them restarts them when they end.
    pub fn tasks(&self) -> Vec<Task> {
        let committer = self.clone();
        let outbox = self.clone();
        let wake = self.clone();
        let idle = self.clone();
        vec![
            Task { name: "committer", begin: Arc::new(move || Box::pin(crate::committer::run(committer.clone()))) },
            Task { name: "outbox", begin: Arc::new(move || Box::pin(crate::outbox::run(outbox.clone()))) },
            Task { name: "wake", begin: Arc::new(move || Box::pin(crate::wake::run(wake.clone()))) },
            Task { name: "idle", begin: Arc::new(move || Box::pin(crate::router::sweep(idle.clone()))) },
        ]
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The database, for reading.
    pub fn store(&self) -> &Arc<dyn Store<D>> {
        &self.0.store
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// The key ring and the settings as they are now.
    pub fn world(&self) -> Arc<D::World> {
        Arc::clone(&self.0.world.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the key ring and the settings. Decisions that have begun keep the old.
    pub fn set_world(&self, world: Arc<D::World>) {
        *self.0.world.write().unwrap_or_else(PoisonError::into_inner) = world;
    }

    /// A fresh input id.
    pub fn input(&self) -> InputId {
        let seed = self.0.dice.seed();
        InputId(Id::v7(self.now().0, derive_bytes(&seed, "input", 0)))
    }

    /// An asker who does not repeat.
    pub fn asker(&self, trace: &str) -> Asker {
        Asker { input: self.input(), repeatable: false, fingerprint: None, trace: Arc::from(trace) }
    }

    /// Thirty-two unforeseeable bytes.
    pub fn seed(&self) -> [u8; 32] {
        self.0.dice.seed()
    }

    pub(crate) fn kind(&self, name: &str) -> Option<Arc<dyn Kind<D>>> {
        self.0.kinds.get(name).cloned()
    }

    /// Whether the database answered when it was last asked to write.
    pub fn is_available(&self) -> bool {
        self.0.available.load(Ordering::Relaxed)
    }

    /// How often the database has come back. Whoever fails remembers this from before: see [`Engine::lost_database`].
    pub(crate) fn returns(&self) -> u64 {
        self.0.returns.load(Ordering::Relaxed)
    }

    /// Notes that the database is away, and has it asked until it is back. A failure that began before the last return
    /// says nothing of now.
    pub(crate) fn lost_database(&self, why: &str, returns: u64) {
        if returns != self.returns() {
            return;
        }
        if self.0.available.swap(false, Ordering::Relaxed) {
            tracing::error!(why, "the database is away; commands are refused until it answers");
            metrics::gauge!(crate::telemetry::DATABASE_AVAILABLE).set(0.0);
            let engine = self.clone();
            self.0.host.spawn(Box::pin(async move {
                loop {
                    engine.0.host.sleep(Duration::from_millis(250)).await;
                    // A panic that ended this task would leave the engine refusing for ever.
                    let ping = AssertUnwindSafe(engine.0.store.ping());
                    if matches!(ping.catch_unwind().await, Ok(Ok(()))) {
                        break;
                    }
                }
                engine.0.returns.fetch_add(1, Ordering::Relaxed);
                engine.0.available.store(true, Ordering::Relaxed);
                metrics::gauge!(crate::telemetry::DATABASE_AVAILABLE).set(1.0);
                tracing::info!("the database is back");
                engine.0.due.notify_one();
                engine.0.outbox.hint();
            }));
        }
    }

    /// Refuses new commands from now on, and claims nothing more of what is due; what is in flight goes on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new commands are refused.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Ends when no command is in flight and the committer's queue is empty.
    pub async fn drained(&self) {
        let all = u32::try_from(self.0.tuning.commands).unwrap_or(u32::MAX);
        let _ = self.0.admitted.acquire_many(all).await;
        let _ = self.0.committer.flushed().await;
    }

    /// Whether the committer comes round within two seconds.
    pub async fn flushes(&self) -> bool {
        let flushed = std::pin::pin!(self.0.committer.flushed());
        let patience = self.0.host.sleep(Duration::from_secs(2));
        matches!(futures_util::future::select(flushed, patience).await, futures_util::future::Either::Left((Ok(()), _)))
    }

    /// How many shells are alive.
    pub fn active(&self) -> usize {
        self.0.slots.active()
    }

    /// All that this node has in hand; nothing of it is left when nobody asks and nothing is under way.
    pub fn in_hand(&self) -> InHand {
        InHand {
            commands: self.0.tuning.commands.saturating_sub(self.0.admitted.available_permits()),
            shells: self.active(),
            slots: self.0.slots.taken(),
            deliveries: self.0.outbox.in_hand(),
            queued: self.queued(),
            waits: self.0.waits.len(),
        }
    }

    /// How many items wait for the committer.
    pub fn queued(&self) -> usize {
        self.0.committer.queued()
    }

    pub(crate) fn count_defect(&self) {
        self.0.defects.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(crate::telemetry::DEFECTS).increment(1);
    }
}
