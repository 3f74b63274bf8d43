//! The engine as one value: store, committer, slots, clock, dice, world and the registry of kinds of flow.

mod host;
mod parts;
mod reply;
mod tuning;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore};

pub use self::host::Host;
pub use self::parts::{Builder, Parts};
pub use self::reply::{Asker, Fault, Method, Reply};
pub use self::tuning::Tuning;
use crate::clock::{Clock, Dice, Timestamp, derive_bytes};
use crate::committer::Committer;
use crate::flow::Domain;
use crate::id::{Id, InputId};
use crate::outbox::Outbox;
use crate::router::{Kind, Slots};
use crate::store::Store;
use crate::wait::Waits;

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
    environment: RwLock<Arc<D::Environment>>,
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

/// What a node has in flight. What stays when all is quiet is a leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Commands that were admitted and have no outcome yet.
    pub commands: usize,
    /// Shells that are alive or on their way.
    pub shells: usize,
    /// Slots that are not vacant.
    pub slots: usize,
    /// Deliveries that are being carried, or will be once they are durable.
    pub deliveries: usize,
    /// Items that wait for the committer.
    pub queued: usize,
    /// Flows for whose next version somebody waits.
    pub waits: usize,
}

impl InFlight {
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
        Builder::new(parts)
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
    pub fn environment(&self) -> Arc<D::Environment> {
        Arc::clone(&self.0.environment.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the key ring and the settings. Decisions that have begun keep the old.
    pub fn set_environment(&self, environment: Arc<D::Environment>) {
        *self.0.environment.write().unwrap_or_else(PoisonError::into_inner) = environment;
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

    /// All that this node has in flight; nothing of it is left when nobody asks and nothing is under way.
    pub fn in_flight(&self) -> InFlight {
        InFlight {
            commands: self.0.tuning.commands.saturating_sub(self.0.admitted.available_permits()),
            shells: self.active(),
            slots: self.0.slots.taken(),
            deliveries: self.0.outbox.in_flight(),
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
