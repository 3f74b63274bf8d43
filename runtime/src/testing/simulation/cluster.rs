//! Several nodes over one store: each is an engine on an executor's node, is killed with all that it has in memory, and
//! begins anew in its place, under a name that no node ever had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable};
use tokio::sync::oneshot;

use super::edges::{Shared, SimCourier, with};
use super::fate::Fate;
use super::host::{SimHost, keep};
use super::judge::Judge;
use super::workload::{Order, Told};
use crate::clock::Clock;
use crate::engine::{Asker, Engine, Fault, Inner, Parts, Tuning};
use crate::flow::Domain;
use crate::store::Store;
use crate::testing::clock::{SeededDice, SkewedClock};
use crate::testing::executor::{Executor, NodeHandle};
use crate::testing::store::SimStore;

/// All that takes part in one history.
pub(super) struct Cluster<D: Domain> {
    pub(super) executor: Executor,
    /// Where clients and troublemakers live. Nobody kills it but the end.
    pub(super) outside: NodeHandle,
    pub(super) fate: Arc<Fate>,
    pub(super) judge: Arc<Judge<D>>,
    pub(super) memory: Arc<SimStore<D>>,
    pub(super) workload: Shared<D>,
    /// The store as the nodes see it.
    pub(super) store: Arc<dyn Store<D>>,
    pub(super) tuning: Tuning,
    /// Whether there is one node at a time and no more.
    pub(super) alone: bool,
    pub(super) environment: Arc<D::Environment>,
    pub(super) places: Mutex<Vec<Place<D>>>,
    /// Every engine that ever was, to see that each is gone when its node is.
    pub(super) engines: Mutex<Vec<Weak<Inner<D>>>>,
}

/// Where one node after the other lives.
pub(super) struct Place<D: Domain> {
    pub(super) name: String,
    /// How many nodes have begun here.
    pub(super) lives: u32,
    pub(super) clock: Arc<SkewedClock>,
    pub(super) node: Option<Node<D>>,
}

/// One life of a node.
pub(super) struct Node<D: Domain> {
    pub(super) handle: NodeHandle,
    pub(super) engine: Engine<D>,
    /// Whether it takes requests yet.
    pub(super) open: Arc<AtomicBool>,
}

impl<D: Domain> Clone for Node<D> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), engine: self.engine.clone(), open: Arc::clone(&self.open) }
    }
}

/// A request on its way: where its answer comes, and how its sender gives it up.
pub(super) struct Request {
    pub(super) answer: oneshot::Receiver<Result<Told, Fault>>,
    pub(super) abort: AbortHandle,
}

impl<D: Domain> Cluster<D> {
    pub(super) fn places(&self) -> MutexGuard<'_, Vec<Place<D>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this many places, and begins a node in each.
    pub(super) fn begin(&self, nodes: usize) {
        for number in 0..nodes {
            let name = format!("node {number}");
            let clock = Arc::new(SkewedClock::on(self.executor.clock()));
            self.places().push(Place { name, lives: 0, clock, node: None });
            self.revive(number);
        }
    }

    /// Begins the next node of a place. One that is alone with its store gives back what the last one had claimed, as a
    /// process does that has a file to itself; among others it knows of nobody's death, and claims end by time.
    pub(super) fn revive(&self, number: usize) {
        let begun = self.places().get_mut(number).map(|place| {
            place.lives += 1;
            (format!("{}/{}", place.name, place.lives), Arc::clone(&place.clock))
        });
        let Some((name, clock)) = begun else { return };
        let alone = self.alone;
        let handle = self.executor.node(&name);
        let courier = SimCourier {
            node: handle.clone(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            workload: Arc::clone(&self.workload),
            judge: Arc::clone(&self.judge),
            fate: Arc::clone(&self.fate),
        };
        let parts = Parts {
            store: Arc::clone(&self.store),
            courier: Arc::new(courier),
            host: Arc::new(SimHost::new(handle.clone(), Arc::clone(&self.fate))),
            clock,
            dice: Arc::new(SeededDice::new(self.fate.roll(|rng| rng.next_u64()))),
            environment: Arc::clone(&self.environment),
            node: name.clone(),
            tuning: self.tuning.clone(),
        };
        let engine = with(&self.workload, |workload| workload.register(Engine::builder(parts))).build();
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&engine.0));
        let node = Node { handle: handle.clone(), engine, open: Arc::default() };
        let before = self.places().get_mut(number).and_then(|place| place.node.replace(node.clone()));
        drop(before);
        self.fate.note(|| format!("{name} begins"));

        let (judge, fate) = (Arc::clone(&self.judge), Arc::clone(&self.fate));
        handle.spawn(Box::pin(async move {
            while alone && node.engine.store().release_claims().await.is_err() {
                node.handle.sleep(Duration::from_millis(200)).await;
            }
            for task in node.engine.tasks() {
                let judge = Arc::clone(&judge);
                let unforeseen = Arc::new(move |what| judge.broke("I9", what));
                node.handle.spawn(Box::pin(keep(node.handle.clone(), Arc::clone(&fate), task, unforeseen)));
            }
            node.open.store(true, Ordering::SeqCst);
        }));
    }

    /// Kills a node where it stands; `false` when it is dead already.
    pub(super) fn kill(&self, number: usize) -> bool {
        let handle = self.places().get(number).and_then(|place| Some(place.node.as_ref()?.handle.clone()));
        let Some(handle) = handle.filter(NodeHandle::is_alive) else { return false };
        self.fate.note(|| format!("{} is killed", handle.name()));
        handle.kill();
        true
    }

    /// The numbers of the places whose nodes are dead.
    pub(super) fn dead(&self) -> Vec<usize> {
        let places = self.places();
        let dead = |place: &Place<D>| place.node.as_ref().is_none_or(|node| !node.handle.is_alive());
        places.iter().enumerate().filter(|(_, place)| dead(place)).map(|(number, _)| number).collect()
    }

    /// The nodes that take requests.
    pub(super) fn open(&self) -> Vec<Node<D>> {
        let places = self.places();
        let nodes = places.iter().filter_map(|place| place.node.as_ref());
        nodes.filter(|node| node.handle.is_alive() && node.open.load(Ordering::SeqCst)).cloned().collect()
    }

    /// Sends an order to some node; `None` when no connection is to be had.
    pub(super) fn send(&self, order: &Order<D>, asker: Asker) -> Option<Request> {
        let open = self.open();
        let node = self.fate.roll(|rng| rng.pick(&open).cloned())?;
        let (sender, answer) = oneshot::channel();
        let (work, abort) = abortable(order.ask(node.engine.clone(), asker));
        node.handle.spawn(Box::pin(async move {
            if let Ok(told) = work.await {
                let _ = sender.send(told);
            }
        }));
        Some(Request { answer, abort })
    }

    /// Ends everything: all nodes, clients and troublemakers, and what they hold.
    pub(super) fn end(&self) {
        let nodes: Vec<Node<D>> = self.places().iter_mut().filter_map(|place| place.node.take()).collect();
        for node in nodes {
            node.handle.kill();
        }
        self.outside.kill();
    }

    /// How many engines live on though their nodes are gone.
    pub(super) fn undead(&self) -> usize {
        let engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        engines.iter().filter(|engine| engine.strong_count() > 0).count()
    }
}
