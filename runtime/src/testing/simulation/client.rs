//! A client: it asks until it is answered, asks again what was answered, and compares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, join, select};

use super::cluster::{Cluster, Request};
use super::edges::with;
use super::workload::{Desk, Next, Order, Told};
use crate::clock::Clock;
use crate::engine::{Asker, Fault, Method};
use crate::flow::Domain;
use crate::id::{Id, InputId};

/// What all clients share.
pub(super) struct Clients {
    /// Orders that may still be given.
    pub(super) left: AtomicU64,
    /// Clients that have not gone home.
    pub(super) present: AtomicUsize,
}

impl Clients {
    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

/// One client's whole life.
pub(super) async fn live<D: Domain>(number: usize, cluster: Arc<Cluster<D>>, crowd: Arc<Clients>) {
    let client = Client { cluster };
    while crowd.left.load(Ordering::SeqCst) > 0 {
        let thinking = client.cluster.fate.roll(|rng| rng.below(250));
        client.rest(Duration::from_millis(thinking)).await;
        match client.next(number) {
            Next::Leave => break,
            Next::Rest(span) => client.rest(span).await,
            Next::Ask(order) => {
                if !crowd.take() {
                    break;
                }
                client.carry_through(number, &order).await;
            }
        }
    }
    crowd.present.fetch_sub(1, Ordering::SeqCst);
}

struct Client<D: Domain> {
    cluster: Arc<Cluster<D>>,
}

impl<D: Domain> Client<D> {
    async fn rest(&self, span: Duration) {
        self.cluster.outside.sleep(span).await;
    }

    fn next(&self, number: usize) -> Next<D> {
        let Cluster { fate, memory, workload, executor, .. } = &*self.cluster;
        let now = executor.clock().now();
        // Its own sequence: the workload may ask anything of the store while it plans.
        let mut rng = fate.roll(|rng| rng.fork());
        with(workload, |workload| workload.next(number, &mut Desk { rng: &mut rng, store: memory, now }))
    }

    /// Asks until there is an answer that no repeat would change; then, now and then, asks again all the same.
    async fn carry_through(&self, number: usize, order: &Order<D>) {
        let Cluster { fate, judge, executor, .. } = &*self.cluster;
        fate.count(|figures| figures.commands += 1);
        let noise = fate.roll(|rng| rng.bytes16());
        let drawn = || InputId(Id::v7(executor.clock().now().0, *noise.first_chunk().unwrap_or(&[0; 10])));
        let input = order.input.unwrap_or_else(drawn);
        let asker = Asker { input, repeatable: true, fingerprint: Some(noise), trace: Arc::from("simulation") };
        fate.note(|| format!("client {number} wants {} as {input}", order.name));

        let answer = self.insist(order, &asker).await;
        let has_event = match &answer {
            Ok(told) => {
                fate.count(|figures| figures.acknowledged += 1);
                judge.acknowledged(input, told)
            }
            Err(_) => false,
        };
        fate.note(|| format!("client {number} has {answer:?} for {} as {input}", order.name));
        let heard = with(&self.cluster.workload, |workload| workload.told(number, &answer));
        judge.heard(input, has_event, heard, &order.name);
        if !has_event {
            return; // what changed nothing is not remembered
        }
        if fate.roll(|rng| rng.chance(150)) {
            fate.count(|figures| figures.repeats += 1);
            match self.insist(order, &asker).await {
                Ok(again) => {
                    judge.acknowledged(input, &again);
                }
                Err(fault) => judge.broke("I3", format!("{} as {input} was {answer:?}, then {fault}", order.name)),
            }
        }
        if fate.roll(|rng| rng.chance(20)) {
            let stranger = Asker { fingerprint: Some([0; 16]), ..asker };
            match self.insist(order, &stranger).await {
                Err(Fault::Mismatch) => {}
                other => {
                    judge.broke("I3", format!("another request under the key of {input} was told {other:?}"));
                }
            }
        }
    }

    /// Asks, whatever it takes, until a fault or an outcome that no repeat would change.
    async fn insist(&self, order: &Order<D>, asker: &Asker) -> Result<Told, Fault> {
        let fate = &self.cluster.fate;
        let mut pause = 20;
        loop {
            let answer = if fate.roll(|rng| rng.chance(30)) {
                // A double click: two nodes work on one input at once.
                let (one, other) = join(self.once(order, asker), self.once(order, asker)).await;
                if let (Some(Ok(one)), Some(Ok(other))) = (&one, &other) {
                    self.compare(asker.input, one, other);
                }
                one.or(other)
            } else {
                self.once(order, asker).await
            };
            match answer {
                Some(Err(
                    Fault::Unavailable(_) | Fault::Overloaded | Fault::Storage(_) | Fault::Contended | Fault::Settled,
                )) => fate.count(|figures| figures.postponed += 1),
                Some(answer) => return answer,
                None => fate.count(|figures| figures.silences += 1),
            }
            let span = fate.roll(|rng| rng.below(pause));
            pause = (pause * 2).min(4_000);
            self.rest(Duration::from_millis(span)).await;
        }
    }

    /// Two answers to one input: where it has an event, they are the same.
    fn compare(&self, input: InputId, one: &Told, other: &Told) {
        self.cluster.judge.acknowledged(input, one);
        self.cluster.judge.acknowledged(input, other);
    }

    /// Asks once; `None` when no answer comes in time, or the node is gone.
    async fn once(&self, order: &Order<D>, asker: &Asker) -> Option<Result<Told, Fault>> {
        let fate = &self.cluster.fate;
        fate.count(|figures| figures.requests += 1);
        let Request { answer, abort } = self.cluster.send(order, asker.clone())?;
        let patience = fate.roll(|rng| if rng.chance(300) { rng.between(50, 2_000) } else { 30_000 });
        match select(answer, self.cluster.outside.sleep(Duration::from_millis(patience))).await {
            Either::Left((Ok(answer), _)) => {
                let direct = answer.as_ref().is_ok_and(|told| told.method == Method::Direct);
                fate.count(|figures| figures.direct += u64::from(direct));
                Some(answer)
            }
            Either::Left((Err(_), _)) => None,
            Either::Right(_) => {
                // Some servers notice that a client is gone and drop its request on the spot; others work on.
                if fate.roll(|rng| rng.chance(500)) {
                    abort.abort();
                }
                None
            }
        }
    }
}
