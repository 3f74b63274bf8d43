//! Production's host under observation: what passes which point is counted, and a test may strike there.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::crash::Point;
use crate::engine::Host;
use crate::id::FlowId;
use crate::nursery::ActorHost;
use crate::shell::{Body, Mailbox};
use crate::testing::store::Dropped;

type Interruption = Box<dyn FnOnce() + Send>;

/// Ends the present task as a panic of unknown cause would, without a word on the terminal.
pub fn strike() {
    if !std::thread::panicking() {
        resume_unwind(Box::new(Dropped));
    }
}

/// The host of production, with eyes.
pub struct WatchedHost {
    inside: Arc<ActorHost>,
    haste: u32,
    barren: AtomicBool,
    running: Arc<Running>,
    passed: Mutex<BTreeMap<Point, u64>>,
    plots: Mutex<Vec<(Point, Interruption)>>,
}

#[derive(Default)]
struct Running {
    tasks: AtomicUsize,
    ended: Notify,
}

/// Counts a task until it is dropped, whichever way it ends.
struct Counted(Arc<Running>);

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

impl WatchedHost {
    /// A host whose sleeps are this many times shorter than asked.
    pub fn new(inside: Arc<ActorHost>, haste: u32) -> Arc<Self> {
        Arc::new(Self {
            inside,
            haste: haste.max(1),
            barren: AtomicBool::new(false),
            running: Arc::default(),
            passed: Mutex::default(),
            plots: Mutex::default(),
        })
    }

    /// Has this happen the next time that a point is passed; several at one point happen one after the other.
    pub fn at(&self, point: Point, step: impl FnOnce() + Send + 'static) {
        lock(&self.plots).push((point, Box::new(step)));
    }

    /// How often a point was passed.
    pub fn passed(&self, point: Point) -> u64 {
        lock(&self.passed).get(&point).copied().unwrap_or_default()
    }

    /// From now on hatches no shells, or does again.
    pub fn set_barren(&self, barren: bool) {
        self.barren.store(barren, Ordering::SeqCst);
    }

    /// Ends when no task is running that the engine has sent on its way and forgotten: deliveries, hatchings, pings.
    pub async fn quiet(&self) {
        loop {
            let ended = self.running.ended.notified();
            if self.running.tasks.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl std::fmt::Debug for WatchedHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchedHost")
    }
}

impl Host for WatchedHost {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.running.tasks.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(Arc::clone(&self.running));
        self.inside.spawn(Box::pin(async move {
            let _counted = counted;
            task.await;
        }));
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.inside.sleep(span / self.haste)
    }

    fn hatch(&self, flow: FlowId, body: Box<dyn Body>) -> BoxFuture<'static, Option<Arc<dyn Mailbox>>> {
        if self.barren.load(Ordering::SeqCst) {
            return Box::pin(async move {
                drop(body);
                None
            });
        }
        self.inside.hatch(flow, body)
    }

    fn abort(&self, why: &str) {
        self.inside.abort(why);
    }

    fn pass(&self, point: Point) {
        *lock(&self.passed).entry(point).or_default() += 1;
        let step = {
            let mut plots = lock(&self.plots);
            plots.iter().position(|(at, _)| *at == point).map(|place| plots.remove(place).1)
        };
        if let Some(step) = step {
            step();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
