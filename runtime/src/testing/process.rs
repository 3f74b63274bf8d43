//! One process of a product under test: an engine on production's host with its committer running, driven time, and
//! pumps that run when the test runs them.

#![allow(
    clippy::missing_panics_doc,
    reason = "what is here is part of tests that other crates run: it asserts, and a panic is its verdict"
)]

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::clock::FixedClock;
use super::scenarios::host::WatchedHost;
use super::store::Dropped;
use crate::engine::{Engine, Host, InFlight};
use crate::flow::Domain;
use crate::nursery::{ActorHost, Supervision, supervise};

/// For the engine real time runs this many times faster than it thinks.
const HASTE: u32 = 100;

/// A process over whatever store its engine was given.
pub struct Process<D: Domain> {
    /// The engine.
    pub engine: Engine<D>,
    /// Its host.
    pub host: Arc<WatchedHost>,
    /// Its clock.
    pub clock: Arc<FixedClock>,
    supervision: Supervision,
    tasks: JoinSet<()>,
    exits: Arc<Mutex<Vec<String>>>,
}

impl<D: Domain> Process<D> {
    /// Begins an engine that is built on the host given.
    pub async fn begin(clock: Arc<FixedClock>, build: impl FnOnce(Arc<dyn Host>) -> Engine<D>) -> Self {
        let exits: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&exits);
        let actors = ActorHost::new(Arc::new(move |why| {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(why.to_owned());
        }));
        let host = WatchedHost::new(Arc::clone(&actors), HASTE);
        let engine = build(Arc::clone(&host) as Arc<dyn Host>);
        let supervision = supervise(actors, Vec::new()).await.expect("a tokio runtime is there");
        let committer = engine.tasks().into_iter().find(|task| task.name == "committer");
        let committer = committer.expect("the engine has a committer");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                if let Err(panic) = AssertUnwindSafe((committer.begin)()).catch_unwind().await {
                    assert!(panic.is::<Dropped>(), "the committer panicked by itself");
                }
            }
        });
        Self { engine, host, clock, supervision, tasks, exits }
    }

    /// Waits until nothing is under way, and asserts that no place, permit, item or shell is left in the engine's hands.
    pub async fn rests(&self) {
        self.host.quiet().await;
        self.clock.advance(Duration::from_millis(1));
        self.engine.passivate_idle(Duration::ZERO);
        // What was told to stop does so in a few turns of the runtime; a leak never does.
        for _ in 0..10_000 {
            if self.engine.in_flight().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.engine.in_flight(), InFlight::default(), "nothing is left in flight");
        let exits = self.exits.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*exits, Vec::<String>::new(), "no process ended itself");
    }

    /// Takes it down, once it rests.
    pub async fn end(mut self) {
        self.rests().await;
        self.supervision.stop().await;
        self.tasks.shutdown().await;
    }
}

/// Runs something in a task of its own; `None` when a fault that was planned ended that task.
pub async fn apart<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut alone = JoinSet::new();
    alone.spawn(task);
    match alone.join_next().await.expect("one was spawned") {
        Ok(done) => Some(done),
        Err(unwound) => {
            let panic = unwound.into_panic();
            if !panic.is::<Dropped>() {
                resume_unwind(panic);
            }
            None
        }
    }
}
