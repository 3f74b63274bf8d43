//! The two edges of a node in a simulation: the store with the judge's eye on it, and the courier into the world.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::fate::{Arrival, Fate, Spoilt};
use super::judge::Judge;
use super::workload::Workload;
use crate::clock::{Clock, Timestamp};
use crate::flow::Domain;
use crate::id::{FlowId, InputId};
use crate::outbox::{Courier, DeliveryAttempt, Trouble};
use crate::store::{
    Audit, Backlog, Claim, Event, Item, OutboxRow, Postpone, Retention, Row, Store, StoreFault, Unclaim, Verb, Verdict,
};
use crate::testing::executor::NodeHandle;

/// The workload, as clients and couriers share it.
pub(super) type Shared<D> = Arc<Mutex<Box<dyn Workload<D>>>>;

/// Uses the workload. Never while the store is being inspected: it may look there itself.
pub(super) fn with<D: Domain, T>(workload: &Shared<D>, use_it: impl FnOnce(&mut dyn Workload<D>) -> T) -> T {
    use_it(workload.lock().unwrap_or_else(PoisonError::into_inner).as_mut())
}

/// The store, with a few faults more than its own, read along by the judge after every write.
pub(super) struct Watched<D: Domain> {
    pub(super) inside: Arc<dyn Store<D>>,
    pub(super) judge: Arc<Judge<D>>,
    pub(super) fate: Arc<Fate>,
}

impl<D: Domain> Watched<D> {
    async fn read<T>(&self, call: impl Future<Output = Result<T, StoreFault>> + Send) -> Result<T, StoreFault> {
        let answer = call.await;
        self.count(&answer);
        answer
    }

    async fn write<T>(&self, call: impl Future<Output = Result<T, StoreFault>> + Send) -> Result<T, StoreFault> {
        let answer = call.await;
        self.count(&answer);
        self.judge.look();
        answer
    }

    fn count<T>(&self, answer: &Result<T, StoreFault>) {
        if let Err(fault) = answer {
            self.fate.count(|figures| {
                figures.store_faults += 1;
                figures.ambiguous += u64::from(matches!(fault, StoreFault::Ambiguous(_)));
            });
            self.fate.note(|| format!("the store: {fault}"));
        }
    }

    async fn spoil(&self, batch: &[Item<D>]) -> Result<Vec<Verdict>, StoreFault> {
        let unsynced = || Err(StoreFault::SyncFailed("fsync".to_owned()));
        match self.fate.commit() {
            None => self.inside.commit(batch).await,
            Some(Spoilt::Full) => Err(StoreFault::Full("no space left on device".to_owned())),
            Some(Spoilt::Conflict) => Err(StoreFault::Conflict("could not serialize".to_owned())),
            Some(Spoilt::UnsyncedUndone) => unsynced(),
            Some(Spoilt::UnsyncedDone) => {
                let _ = self.inside.commit(batch).await;
                unsynced()
            }
        }
    }
}

impl<D: Domain> Store<D> for Watched<D> {
    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        Box::pin(self.read(self.inside.load(flow)))
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        Box::pin(self.read(self.inside.event(input)))
    }

    fn history(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<Event>, StoreFault>> {
        Box::pin(self.read(self.inside.history(flow)))
    }

    fn deliveries(&self, flow: FlowId) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.read(self.inside.deliveries(flow)))
    }

    fn check<'a>(&'a self, item: &'a Item<D>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(self.read(self.inside.check(item)))
    }

    fn commit<'a>(&'a self, batch: &'a [Item<D>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(self.write(self.spoil(batch)))
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.write(self.inside.claim_due(claim)))
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(self.read(self.inside.claimed(claim)))
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(self.write(self.inside.claim_deliveries(lane, claim)))
    }

    fn postpone<'a>(&'a self, postponed: &'a [Postpone]) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.write(self.inside.postpone(postponed)))
    }

    fn unclaim<'a>(&'a self, back: &'a Unclaim) -> BoxFuture<'a, Result<(), StoreFault>> {
        Box::pin(self.write(self.inside.unclaim(back)))
    }

    fn release_claims(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.write(self.inside.release_claims()))
    }

    fn quarantine<'a>(
        &'a self,
        flow: FlowId,
        version: u64,
        at: Timestamp,
        why: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreFault>> {
        self.fate.note(|| format!("quarantine of {flow} at {version}: {why}"));
        Box::pin(self.write(self.inside.quarantine(flow, version, at, why)))
    }

    fn operate(&self, flow: FlowId, verb: Verb, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreFault>> {
        Box::pin(self.write(self.inside.operate(flow, verb, now)))
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreFault>> {
        Box::pin(self.read(self.inside.next_due()))
    }

    fn retain(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.write(self.inside.retain(retention)))
    }

    fn live(&self) -> BoxFuture<'_, Result<u64, StoreFault>> {
        Box::pin(self.read(self.inside.live()))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog, StoreFault>> {
        Box::pin(self.read(self.inside.backlog()))
    }

    fn audit(&self, now: Timestamp) -> BoxFuture<'_, Result<Audit, StoreFault>> {
        Box::pin(self.read(self.inside.audit(now)))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(self.read(self.inside.ping()))
    }
}

/// One node's courier: slow, asked to come again, refused for ever, or cut down on its way, as fate has it.
pub(super) struct SimCourier<D: Domain> {
    pub(super) node: NodeHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) workload: Shared<D>,
    pub(super) judge: Arc<Judge<D>>,
    pub(super) fate: Arc<Fate>,
}

impl<D: Domain> Courier<D> for SimCourier<D> {
    fn carry(&self, attempt: DeliveryAttempt<D>) -> BoxFuture<'_, Result<D::Answer, Trouble>> {
        if attempt.expires.is_some_and(|expires| expires <= self.clock.now()) {
            self.judge.broke("I5", format!("{} was carried though its time was over", attempt.id));
        }
        let journey = self.fate.journey();
        Box::pin(async move {
            if let Some(span) = journey.before {
                self.node.sleep(span).await;
            }
            // Whoever has taken a delivery takes its repeat.
            let never = journey.end == Arrival::Never && !self.judge.was_carried(attempt.id);
            let answer = match journey.end {
                Arrival::Never if never => return Err(Trouble::Never("never".to_owned())),
                Arrival::Later => return Err(Trouble::Later { why: "come again".to_owned(), after: None }),
                Arrival::Never | Arrival::Accepted | Arrival::AcceptedUnanswered => {
                    self.judge.carried(&attempt);
                    let answer = with(&self.workload, |workload| self.fate.roll(|rng| workload.carried(&attempt, rng)));
                    self.fate
                        .note(|| format!("{} carried {} (attempt {})", self.node.name(), attempt.id, attempt.number));
                    answer
                }
            };
            if let Some(span) = journey.after {
                self.node.sleep(span).await;
            }
            if journey.end == Arrival::AcceptedUnanswered {
                return Err(Trouble::Later { why: "no answer".to_owned(), after: None });
            }
            self.judge.accepted(attempt.id);
            Ok(answer)
        })
    }
}
