//! A store in front of another: it hands on what it does not do itself.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;
use crate::flow::Domain;
use crate::id::{FlowId, InputId};
use crate::store::{
    Audit, Backlog, Claim, Event, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim, Verb, Verdict,
};

/// What stands in front of a store, to be made a [`Store`] itself by [`Front`]. What is not written out goes to the store
/// behind.
#[allow(missing_docs, reason = "each method is the one of the same name in `Store`")]
pub trait Passing<D: Domain>: Send + Sync + 'static {
    /// The store behind.
    fn inside(&self) -> &dyn Store<D>;

    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        self.inside().load(flow)
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        self.inside().event(input)
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        self.inside().history(flow)
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        self.inside().deliveries(flow)
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        self.inside().check(item)
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        self.inside().commit(batch)
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.inside().claim_due(claim)
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.inside().claimed(claim)
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        self.inside().claim_deliveries(lane, claim)
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside().postpone(postponed)
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside().unclaim(back)
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.inside().release_claims()
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.inside().quarantine(flow, version, at, why)
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        self.inside().operate(flow, verb, now)
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        self.inside().next_due()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.inside().retain(retention)
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.inside().live()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        self.inside().backlog()
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        self.inside().audit(now)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.inside().ping()
    }
}

/// A [`Store`] whose calls go past whatever stands in front of another.
#[derive(Debug)]
pub struct Front<P>(pub Arc<P>);

impl<D: Domain, P: Passing<D>> Store<D> for Front<P> {
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        self.0.load(flow)
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        self.0.event(input)
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        self.0.history(flow)
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        self.0.deliveries(flow)
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        self.0.check(item)
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        self.0.commit(batch)
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.0.claim_due(claim)
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.0.claimed(claim)
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        self.0.claim_deliveries(lane, claim)
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.0.postpone(postponed)
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.0.unclaim(back)
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.0.release_claims()
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.0.quarantine(flow, version, at, why)
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        self.0.operate(flow, verb, now)
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        self.0.next_due()
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.0.retain(retention)
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        self.0.live()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        self.0.backlog()
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        self.0.audit(now)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.0.ping()
    }
}
