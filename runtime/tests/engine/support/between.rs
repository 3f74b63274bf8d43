//! A store in whose way somebody stands: something happens just before a commit, or instead of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use cairn_runtime::store::{
    Audit, Claim, Counts, Delivery, Event, Item, Postpone, Retention, Row, Store, StoreFault, Verb, Verdict,
};
use cairn_runtime::testing::toy::Toy;
use cairn_runtime::{FlowId, InputId, Timestamp};
use futures_util::future::BoxFuture;

/// What happens at one call of `commit`.
pub(crate) enum Instead {
    /// This first, then the commit.
    First(BoxFuture<'static, ()>),
    /// Only this fault.
    Fault(StoreFault),
}

type Poison = Box<dyn Fn(&[Item<Toy>]) -> Option<StoreFault> + Send + Sync>;

pub(crate) struct Between {
    inside: Arc<dyn Store<Toy>>,
    planned: Mutex<VecDeque<Instead>>,
    before_check: Mutex<Option<BoxFuture<'static, ()>>>,
    poison: Mutex<Option<Poison>>,
    sizes: Mutex<Vec<usize>>,
}

impl Between {
    pub(crate) fn new(inside: Arc<dyn Store<Toy>>) -> Self {
        Self {
            inside,
            planned: Mutex::default(),
            before_check: Mutex::default(),
            poison: Mutex::default(),
            sizes: Mutex::default(),
        }
    }

    /// At the next commit that nothing is planned for yet.
    pub(crate) fn plan(&self, instead: Instead) {
        self.planned.lock().unwrap().push_back(instead);
    }

    /// Just before the next time that something is decided by reading.
    pub(crate) fn before_check(&self, first: BoxFuture<'static, ()>) {
        *self.before_check.lock().unwrap() = Some(first);
    }

    /// Every batch is looked at, and refused when this says so.
    pub(crate) fn poison(&self, poison: impl Fn(&[Item<Toy>]) -> Option<StoreFault> + Send + Sync + 'static) {
        *self.poison.lock().unwrap() = Some(Box::new(poison));
    }

    /// The sizes of all batches that came.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }
}

impl Store<Toy> for Between {
    fn commit<'a>(&'a self, batch: &'a [Item<Toy>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        self.sizes.lock().unwrap().push(batch.len());
        let planned = self.planned.lock().unwrap().pop_front();
        let poisoned = self.poison.lock().unwrap().as_ref().and_then(|poison| poison(batch));
        Box::pin(async move {
            match planned {
                Some(Instead::First(first)) => first.await,
                Some(Instead::Fault(fault)) => return Err(fault),
                None => {}
            }
            match poisoned {
                Some(fault) => Err(fault),
                None => self.inside.commit(batch).await,
            }
        })
    }

    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        self.inside.load(flow)
    }
    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        self.inside.event(input)
    }
    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        self.inside.history(flow)
    }
    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        self.inside.deliveries(flow)
    }
    fn check<'a>(&'a self, item: &'a Item<Toy>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        let first = self.before_check.lock().unwrap().take();
        Box::pin(async move {
            if let Some(first) = first {
                first.await;
            }
            self.inside.check(item).await
        })
    }
    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.inside.claim_due(claim)
    }
    fn claim_deliveries(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Delivery>, StoreFault>> {
        self.inside.claim_deliveries(claim)
    }
    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside.postpone(postponed)
    }
    fn unclaim(&self, flow: FlowId, until: Timestamp, counts: bool) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.inside.unclaim(flow, until, counts)
    }
    fn release_claims<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside.release_claims(node)
    }
    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside.quarantine(flow, version, at, why)
    }
    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        self.inside.operate(flow, verb, now)
    }
    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        self.inside.next_due()
    }
    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.inside.retain(retention)
    }
    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreFault>> {
        self.inside.counts()
    }
    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        self.inside.audit(now)
    }
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.inside.ping()
    }
}
