//! A store around another store that fails at exactly one call, in one of four ways, for the crash sweep.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, select};
use tokio::sync::Notify;

use super::Sleep;
use crate::clock::Timestamp;
use crate::flow::Domain;
use crate::id::{FlowId, InputId};
use crate::store::{
    Audit, Backlog, Claim, Event, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim, Verb, Verdict,
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The store is never asked; the answer is [`StoreFault::Unavailable`].
    ErrorBefore,
    /// The store does it, and the answer is lost: [`StoreFault::Ambiguous`] for what writes, `Unavailable` for a read.
    ErrorAfter,
    /// No answer, until [`FaultyStore::release`] lets the call go on, or the time-out gives `Unavailable`.
    Hang,
    /// The store does it, and the task that asked unwinds with [`Dropped`] before it learns of it.
    Drop,
}

/// All four.
pub const MODES: [Mode; 4] = [Mode::ErrorBefore, Mode::ErrorAfter, Mode::Hang, Mode::Drop];

/// What a task unwinds with in [`Mode::Drop`]. It passes no panic hook, so a sweep prints nothing.
#[derive(Clone, Copy, Debug)]
pub struct Dropped;

/// One call, and how it is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// Which call, counted from 1.
    pub nth: u64,
    /// Only calls of this method of [`Store`] count; all of them when `None`.
    pub call: Option<&'static str>,
    /// How it fails.
    pub mode: Mode,
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at call {} of {}", self.mode, self.nth, self.call.unwrap_or("any kind"))
    }
}

#[derive(Default)]
struct Watch {
    aim: Option<Aim>,
    counted: u64,
    calls: BTreeMap<&'static str, u64>,
    hit: Option<&'static str>,
}

/// A store that fails once, where it is told to; before and after it is the store inside.
pub struct FaultyStore<D: Domain> {
    inside: Arc<dyn Store<D>>,
    watch: Mutex<Watch>,
    released: AtomicBool,
    release: Notify,
    time_out: Option<(Sleep, Duration)>,
}

impl<D: Domain> FaultyStore<D> {
    /// A store that fails at this call, or, without an aim, only counts.
    pub fn new(inside: Arc<dyn Store<D>>, aim: Option<Aim>) -> Self {
        Self {
            inside,
            watch: Mutex::new(Watch { aim, ..Watch::default() }),
            released: AtomicBool::new(false),
            release: Notify::new(),
            time_out: None,
        }
    }

    /// A call that hangs ends after this span with [`StoreFault::Unavailable`].
    #[must_use]
    pub fn with_time_out(mut self, span: Duration, sleep: Sleep) -> Self {
        self.time_out = Some((sleep, span));
        self
    }

    /// Counts anew from here, and fails at this call.
    pub fn aim(&self, aim: Aim) {
        *self.watch() = Watch { aim: Some(aim), ..Watch::default() };
        self.released.store(false, Ordering::SeqCst);
    }

    /// Lets the call that hangs go on to the store inside.
    pub fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
        self.release.notify_waiters();
    }

    /// The method that failed; `None` while nothing did.
    pub fn hit(&self) -> Option<&'static str> {
        self.watch().hit
    }

    /// How often each method was called.
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.watch().calls.clone()
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and gives the way in which it fails, if it is the one.
    fn count(&self, name: &'static str) -> Option<Mode> {
        let mut watch = self.watch();
        *watch.calls.entry(name).or_default() += 1;
        let aim = watch.aim.filter(|aim| aim.call.is_none_or(|only| only == name))?;
        watch.counted += 1;
        if watch.counted != aim.nth {
            return None;
        }
        watch.hit = Some(name);
        Some(aim.mode)
    }

    /// Waits for the release; `false` when time ran out before.
    async fn hang(&self) -> bool {
        let released = async {
            let woken = self.release.notified();
            if !self.released.load(Ordering::SeqCst) {
                woken.await;
            }
        };
        match &self.time_out {
            None => {
                released.await;
                true
            }
            Some((sleep, span)) => {
                let early = select(Box::pin(released), sleep(*span)).await;
                matches!(early, futures_util::future::Either::Left(_))
            }
        }
    }

    async fn call<'a, T>(
        &'a self,
        name: &'static str,
        inside: impl FnOnce() -> BoxFuture<'a, Result<T, StoreFault>> + Send,
    ) -> Result<T, StoreFault> {
        const READS: [&str; 10] =
            ["load", "event", "history", "deliveries", "check", "next_due", "live", "backlog", "audit", "ping"];
        let away = |why: &str| Err(StoreFault::Unavailable(format!("{name}: {why}")));
        match self.count(name) {
            None => inside().await,
            Some(Mode::ErrorBefore) => away("refused before it began"),
            Some(Mode::ErrorAfter) => {
                inside().await?;
                if READS.contains(&name) {
                    away("the answer was lost")
                } else {
                    Err(StoreFault::Ambiguous(format!("{name}: the answer was lost")))
                }
            }
            Some(Mode::Hang) => {
                if self.hang().await {
                    inside().await
                } else {
                    away("no answer in time")
                }
            }
            Some(Mode::Drop) => {
                let _ = inside().await;
                std::panic::resume_unwind(Box::new(Dropped))
            }
        }
    }
}

impl<D: Domain> Store<D> for FaultyStore<D> {
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        Box::pin(self.call("load", move || self.inside.load(flow)))
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        Box::pin(self.call("event", move || self.inside.event(input)))
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        Box::pin(self.call("history", move || self.inside.history(flow)))
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.call("deliveries", move || self.inside.deliveries(flow)))
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(self.call("check", move || self.inside.check(item)))
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(self.call("commit", move || self.inside.commit(batch)))
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.call("claim_due", move || self.inside.claim_due(claim)))
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.call("claimed", move || self.inside.claimed(claim)))
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.call("claim_deliveries", move || self.inside.claim_deliveries(lane, claim)))
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.call("postpone", move || self.inside.postpone(postponed)))
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.call("unclaim", move || self.inside.unclaim(back)))
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.call("release_claims", move || self.inside.release_claims()))
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.call("quarantine", move || self.inside.quarantine(flow, version, at, why)))
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(self.call("operate", move || self.inside.operate(flow, verb, now)))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        Box::pin(self.call("next_due", move || self.inside.next_due()))
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.call("retain", move || self.inside.retain(retention)))
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.call("live", move || self.inside.live()))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        Box::pin(self.call("backlog", move || self.inside.backlog()))
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        Box::pin(self.call("audit", move || self.inside.audit(now)))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.call("ping", move || self.inside.ping()))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::super::SimStore;
    use super::*;
    use crate::testing::suite::given::{flow, start};
    use crate::testing::toy::Toy;

    fn around(aim: Option<Aim>) -> (Arc<SimStore<Toy>>, Arc<FaultyStore<Toy>>) {
        let inside = Arc::new(SimStore::<Toy>::new());
        (Arc::clone(&inside), Arc::new(FaultyStore::new(inside, aim)))
    }

    fn second_commit(mode: Mode) -> Option<Aim> {
        Some(Aim { nth: 2, call: Some("commit"), mode })
    }

    async fn commit(store: &FaultyStore<Toy>, number: u64) -> Result<Vec<Verdict>, StoreFault> {
        store.commit(&[start(number).item]).await
    }

    #[tokio::test]
    async fn only_the_call_that_was_aimed_at_fails() {
        let (inside, store) = around(second_commit(Mode::ErrorBefore));
        assert!(commit(&store, 1).await.is_ok());
        assert!(store.load(flow(1)).await.is_ok());
        assert!(matches!(commit(&store, 2).await, Err(StoreFault::Unavailable(_))));
        assert!(commit(&store, 3).await.is_ok());
        assert_eq!(store.hit(), Some("commit"));
        assert_eq!(store.calls(), BTreeMap::from([("commit", 3), ("load", 1)]));
        assert_eq!(inside.rows().len(), 2);
    }

    #[tokio::test]
    async fn an_error_after_leaves_the_commit_durable_and_the_caller_in_doubt() {
        let (inside, store) = around(second_commit(Mode::ErrorAfter));
        assert!(commit(&store, 1).await.is_ok());
        assert!(matches!(commit(&store, 2).await, Err(StoreFault::Ambiguous(_))));
        assert_eq!(inside.rows().len(), 2);
        store.aim(Aim { nth: 1, call: None, mode: Mode::ErrorAfter });
        assert!(matches!(store.ping().await, Err(StoreFault::Unavailable(_))), "a read is in no doubt");
    }

    #[tokio::test]
    async fn a_call_hangs_until_it_is_released() {
        let (inside, store) = around(second_commit(Mode::Hang));
        assert!(commit(&store, 1).await.is_ok());
        let mut hanging = Box::pin(commit(&store, 2));
        assert!(hanging.as_mut().now_or_never().is_none());
        assert_eq!(inside.rows().len(), 1);
        store.release();
        assert!(hanging.await.is_ok());
        assert_eq!(inside.rows().len(), 2);
    }

    #[tokio::test]
    async fn a_time_out_ends_a_call_that_hangs() {
        let inside = Arc::new(SimStore::<Toy>::new());
        let at_once: Sleep = Arc::new(|_| Box::pin(std::future::ready(())));
        let aim = Aim { nth: 1, call: None, mode: Mode::Hang };
        let store = FaultyStore::new(inside.clone(), Some(aim)).with_time_out(Duration::from_millis(5), at_once);
        assert!(matches!(commit(&store, 1).await, Err(StoreFault::Unavailable(_))));
        assert!(inside.rows().is_empty());
    }

    #[tokio::test]
    async fn a_dropped_call_is_durable_and_unwinds_its_task() {
        let (inside, store) = around(second_commit(Mode::Drop));
        assert!(commit(&store, 1).await.is_ok());
        let unwound = AssertUnwindSafe(commit(&store, 2)).catch_unwind().await;
        assert!(unwound.is_err_and(|panic| panic.is::<Dropped>()));
        assert_eq!(inside.rows().len(), 2);
        assert!(commit(&store, 3).await.is_ok());
    }
}
