//! What an engine is made of, and how it is made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, RwLock};

use tokio::sync::{Notify, Semaphore};

use super::{Engine, Host, Inner, Tuning};
use crate::clock::{Clock, Dice};
use crate::committer::Committer;
use crate::flow::{Domain, Flow};
use crate::outbox::{Courier, Outbox};
use crate::router::{Kind, Of, Slots};
use crate::store::Store;
use crate::wait::Waits;

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
    pub environment: Arc<D::Environment>,
    /// The name of this node, which no other process has or ever had: claims are told apart by it.
    pub node: String,
    /// Bounds and spans.
    pub tuning: Tuning,
}

/// Registers kinds of flow, then makes the engine.
pub struct Builder<D: Domain> {
    parts: Parts<D>,
    kinds: HashMap<&'static str, Arc<dyn Kind<D>>>,
}

impl<D: Domain> Builder<D> {
    pub(super) fn new(parts: Parts<D>) -> Self {
        Self { parts, kinds: HashMap::new() }
    }

    /// Makes a kind of flow known, so that it can be woken, told and answered.
    #[must_use]
    pub fn flow<F: Flow<Domain = D>>(mut self) -> Self {
        self.kinds.insert(F::NAME, Arc::new(Of::<F>::new()));
        self
    }

    /// The engine. Nothing of it runs until its tasks do: see [`Engine::tasks`].
    pub fn build(self) -> Engine<D> {
        let Parts { store, courier, host, clock, dice, environment, node, tuning } = self.parts;
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
            environment: RwLock::new(environment),
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
