//! A turnstile in front of a store: calls wait until a seed lets them through, one by one or several at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_actors::effects::Auth;
use cairn_runtime::store::{
    Audit, Backlog, Claim, Event, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim, Verb, Verdict,
};
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::{FlowId, InputId, Timestamp};
use futures_util::future::{BoxFuture, Either, select};
use tokio::sync::{Notify, oneshot};

/// Somebody who waits to be let through; `passed` ends when what they went in for is done.
struct Waiting {
    go: oneshot::Sender<()>,
    passed: oneshot::Receiver<()>,
}

/// The place where all calls of one race meet.
pub struct Turnstile {
    rng: Mutex<Rng>,
    waiting: Mutex<Vec<Waiting>>,
    open: AtomicBool,
    news: Notify,
}

/// Somebody who was let through; whoever comes next alone waits until this is dropped.
pub struct Passing(Option<oneshot::Sender<()>>);

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(passed) = self.0.take() {
            let _ = passed.send(());
        }
    }
}

impl Turnstile {
    /// A turnstile that stands open.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            rng: Mutex::new(Rng::new(0)),
            waiting: Mutex::default(),
            open: AtomicBool::new(true),
            news: Notify::new(),
        })
    }

    /// Closes for as long as a race lasts: whoever comes is let through in this seed's order.
    pub async fn race<T>(&self, seed: u64, race: impl Future<Output = T>) -> T {
        *lock(&self.rng) = Rng::new(seed);
        self.open.store(false, Ordering::SeqCst);
        let (race, conduct) = (std::pin::pin!(race), std::pin::pin!(self.conduct()));
        let done = match select(race, conduct).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => unreachable!("whoever conducts does so for ever"),
        };
        self.open.store(true, Ordering::SeqCst);
        for waiting in lock(&self.waiting).drain(..) {
            let _ = waiting.go.send(());
        }
        done
    }

    /// Waits to be let through.
    pub async fn pass(&self) -> Passing {
        let entered = {
            let mut waiting = lock(&self.waiting);
            if self.open.load(Ordering::SeqCst) {
                return Passing(None);
            }
            let ((go, entered), (done, passed)) = (oneshot::channel(), oneshot::channel());
            waiting.push(Waiting { go, passed });
            (entered, done)
        };
        self.news.notify_one();
        let _ = entered.0.await;
        Passing(Some(entered.1))
    }

    /// Lets through one of those who wait, again and again: which, how long others may still come before it is chosen,
    /// and whether the next goes in beside it or after it, the seed says.
    async fn conduct(&self) {
        loop {
            let (linger, alone) = {
                let mut rng = lock(&self.rng);
                (rng.below(12), rng.chance(500))
            };
            for _ in 0..linger {
                tokio::task::yield_now().await;
            }
            let chosen = {
                let mut waiting = lock(&self.waiting);
                // Whoever was killed while waiting does not go in.
                waiting.retain(|waiting| !waiting.go.is_closed());
                let place = lock(&self.rng).place(waiting.len());
                (!waiting.is_empty()).then(|| waiting.swap_remove(place))
            };
            match chosen {
                None => self.news.notified().await,
                Some(Waiting { go, passed }) => {
                    let went = go.send(()).is_ok();
                    if went && alone {
                        let _ = passed.await;
                    }
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A store whose calls pass a turnstile before they begin.
pub struct Turned {
    inside: Arc<dyn Store<Auth>>,
    turnstile: Arc<Turnstile>,
}

impl Turned {
    pub fn around(inside: Arc<dyn Store<Auth>>, turnstile: Arc<Turnstile>) -> Arc<dyn Store<Auth>> {
        Arc::new(Self { inside, turnstile })
    }

    fn turn<'a, T: Send + 'a>(
        &'a self,
        call: impl FnOnce(&'a dyn Store<Auth>) -> BoxFuture<'a, Result<T, StoreFault>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreFault>> {
        Box::pin(async move {
            let _passing = self.turnstile.pass().await;
            call(self.inside.as_ref()).await
        })
    }
}

type Asked<'a, T> = BoxFuture<'a, Result<T, StoreFault>>;

impl Store<Auth> for Turned {
    fn load(&self, flow: FlowId) -> Asked<'_, Option<Row>> {
        self.turn(move |store| store.load(flow))
    }
    fn event(&self, input: InputId) -> Asked<'_, Option<Event>> {
        self.turn(move |store| store.event(input))
    }
    fn history(&self, flow: FlowId) -> Asked<'_, Vec<Event>> {
        self.turn(move |store| store.history(flow))
    }
    fn deliveries(&self, flow: FlowId) -> Asked<'_, Vec<OutboxRow>> {
        self.turn(move |store| store.deliveries(flow))
    }
    fn check<'a>(&'a self, item: &'a Item<Auth>) -> Asked<'a, Verdict> {
        self.turn(move |store| store.check(item))
    }
    fn commit<'a>(&'a self, batch: &'a [Item<Auth>]) -> Asked<'a, Vec<Verdict>> {
        self.turn(move |store| store.commit(batch))
    }
    fn claim_due(&self, claim: Claim) -> Asked<'_, Vec<Row>> {
        self.turn(move |store| store.claim_due(claim))
    }
    fn claimed(&self, claim: Claim) -> Asked<'_, Vec<Row>> {
        self.turn(move |store| store.claimed(claim))
    }
    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> Asked<'_, Vec<OutboxRow>> {
        self.turn(move |store| store.claim_deliveries(lane, claim))
    }
    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> Asked<'a, ()> {
        self.turn(move |store| store.postpone(postponed))
    }
    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> Asked<'a, ()> {
        self.turn(move |store| store.unclaim(back))
    }
    fn release_claims(&self) -> Asked<'_, ()> {
        self.turn(move |store| store.release_claims())
    }
    fn quarantine<'a>(&'a self, flow: FlowId, version: u64, at: Timestamp, why: &'a str) -> Asked<'a, ()> {
        self.turn(move |store| store.quarantine(flow, version, at, why))
    }
    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> Asked<'_, bool> {
        self.turn(move |store| store.operate(flow, verb, now))
    }
    fn next_due(&self) -> Asked<'_, Option<Timestamp>> {
        self.turn(|store| store.next_due())
    }
    fn retain(&self, retention: Retention) -> Asked<'_, u64> {
        self.turn(move |store| store.retain(retention))
    }
    fn live(&self) -> Asked<'_, u64> {
        self.turn(|store| store.live())
    }

    fn backlog(&self) -> Asked<'_, Backlog> {
        self.turn(|store| store.backlog())
    }
    fn audit(&self, now: Timestamp) -> Asked<'_, Audit> {
        self.turn(move |store| store.audit(now))
    }
    fn ping(&self) -> Asked<'_, ()> {
        self.turn(|store| store.ping())
    }
}
