//! A store that alters what it is given before it looks at it: the simplest mutants, to see that a workload finds them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Between;
use crate::clock::Timestamp;
use crate::flow::Domain;
use crate::id::{FlowId, InputId};
use crate::store::{
    Audit, Claim, Counts, Delivery, Event, Item, Postpone, Retention, Row, Store, StoreFault, Verb, Verdict,
};
use crate::testing::store::SimStore;

/// Puts a store in between that alters a copy of each item before it is checked or committed.
///
/// What the log then shows is the altered item: a mutant that is to be found by what comes of it, and not by what is
/// missing in the log, alters a condition to one that stands rather than taking it away.
pub fn altering<D: Domain>(alter: impl Fn(&SimStore<D>, &mut Item<D>) + Send + Sync + 'static) -> Between<D> {
    let alter: Arc<Alter<D>> = Arc::new(alter);
    Arc::new(move |inside| Arc::new(Altered { inside, alter: Arc::clone(&alter) }))
}

type Alter<D> = dyn Fn(&SimStore<D>, &mut Item<D>) + Send + Sync;

struct Altered<D: Domain> {
    inside: Arc<SimStore<D>>,
    alter: Arc<Alter<D>>,
}

impl<D: Domain> Altered<D> {
    fn altered(&self, item: &Item<D>) -> Item<D> {
        let mut copy = Item {
            input: item.input,
            seen: item.seen,
            change: item.change.clone(),
            expects: item.expects,
            guards: item.guards.clone(),
            writes: item.writes.clone(),
            opened: item.opened.clone(),
            outbox: item.outbox.clone(),
            settles: item.settles.clone(),
            event: item.event.clone(),
        };
        (self.alter)(&self.inside, &mut copy);
        copy
    }
}

impl<D: Domain> Store<D> for Altered<D> {
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

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(async move { self.inside.check(&self.altered(item)).await })
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            let altered: Vec<Item<D>> = batch.iter().map(|item| self.altered(item)).collect();
            self.inside.commit(&altered).await
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
