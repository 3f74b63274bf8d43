//! Group commit: a plain task that nobody can cancel takes whatever waits and has it written in one transaction.
//!
//! What must stay true: no two items of a batch touch the same flow, delivery, input or guard unless both only hold it;
//! an item that is out harms no other; nobody is told before it is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::clock::Timestamp;
use crate::crash::Point;
use crate::engine::{Engine, Fault};
use crate::flow::Domain;
use crate::id::FlowId;
use crate::outbox::HandOff;
use crate::store::{Item, Store, StoreFault, Touched, Verb, Verdict};

/// How many batches' worth of items are looked through for the next one.
const LOOK_AHEAD: usize = 4;

type Chore<D> = Box<dyn FnOnce(Arc<dyn Store<D>>) -> BoxFuture<'static, ()> + Send>;

enum Work<D: Domain> {
    Item { item: Box<Item<D>>, hand_offs: Vec<HandOff<D>>, reply: oneshot::Sender<Result<Verdict, Fault>> },
    Chore(Chore<D>),
}

/// The queue in front of the one writer. It outlives a panic of the task that empties it.
pub(crate) struct Committer<D: Domain> {
    sender: mpsc::Sender<Work<D>>,
    queue: Mutex<Queue<D>>,
    queued: AtomicUsize,
}

/// What has come, and what has been looked at and must wait for another batch.
struct Queue<D: Domain> {
    receiver: mpsc::Receiver<Work<D>>,
    waiting: VecDeque<Work<D>>,
}

impl<D: Domain> Committer<D> {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, receiver) = mpsc::channel(capacity);
        let queue = Mutex::new(Queue { receiver, waiting: VecDeque::new() });
        Self { sender, queue, queued: AtomicUsize::new(0) }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Ends when all that was queued before it is done.
    pub(crate) async fn flushed(&self) -> Result<(), Fault> {
        let (done, end) = oneshot::channel();
        let chore: Chore<D> = Box::new(move |_| {
            Box::pin(async move {
                let _ = done.send(());
            })
        });
        self.put(Work::Chore(chore)).await?;
        end.await.map_err(|_| interrupted())
    }

    async fn put(&self, work: Work<D>) -> Result<(), Fault> {
        let place = self.sender.reserve().await.map_err(|_| interrupted())?;
        self.queued.fetch_add(1, Ordering::Relaxed); // whoever is dropped while waiting for a place has not been counted
        place.send(work);
        Ok(())
    }

    fn offer(&self, work: Work<D>) -> Result<(), Fault> {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(work).map_err(|_| {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            metrics::counter!(crate::telemetry::REFUSED, "where" => "committer").increment(1);
            Fault::Overloaded
        })
    }
}

fn interrupted() -> Fault {
    Fault::Unavailable("the committer was interrupted".to_owned())
}

impl<D: Domain> Engine<D> {
    /// Has one item committed with whatever else waits.
    pub(crate) async fn commit(&self, item: Item<D>, hand_offs: Vec<HandOff<D>>) -> Result<Verdict, Fault> {
        if !self.is_available() {
            return Err(Fault::Unavailable("the database is away".to_owned()));
        }
        let (reply, verdict) = oneshot::channel();
        self.0.committer.offer(Work::Item { item: Box::new(item), hand_offs, reply })?;
        verdict.await.map_err(|_| interrupted())?
    }

    /// Runs something else that writes, between two batches, in the committer's own task.
    ///
    /// # Errors
    /// What the store says, or that the committer was interrupted.
    pub async fn chore<T, C>(&self, chore: C) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        C: FnOnce(Arc<dyn Store<D>>) -> BoxFuture<'static, Result<T, StoreFault>> + Send + 'static,
    {
        let returns = self.returns();
        let (reply, result) = oneshot::channel();
        let boxed: Chore<D> = Box::new(move |store| {
            Box::pin(async move {
                let _ = reply.send(chore(store).await);
            })
        });
        let gone = || StoreFault::Unavailable("the committer was interrupted".to_owned());
        self.0.committer.put(Work::Chore(boxed)).await.map_err(|_| gone())?;
        let result = result.await.map_err(|_| gone())?;
        if let Err(StoreFault::Unavailable(why)) = &result {
            self.lost_database(why, returns);
        }
        if let Err(StoreFault::SyncFailed(why)) = &result {
            self.0.host.abort(why);
        }
        result
    }

    /// Sets a flow aside for the operator, unless it has moved meanwhile.
    ///
    /// # Errors
    /// What the store says.
    pub async fn quarantine(&self, flow: FlowId, kind: &str, version: u64, why: &str) -> Result<(), StoreFault> {
        tracing::error!(%flow, kind, version, why, "a flow goes to quarantine");
        metrics::counter!(crate::telemetry::QUARANTINED, "flow" => kind.to_owned()).increment(1);
        let now = self.now();
        let why = why.to_owned();
        self.chore(move |store| Box::pin(async move { store.quarantine(flow, version, now, &why).await })).await?;
        self.kill_shell(flow); // which believes a state that nobody may touch any more
        Ok(())
    }

    /// Does as the operator says with a flow in quarantine; `false` when there is no such flow there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn operate(&self, flow: FlowId, verb: Verb) -> Result<bool, StoreFault> {
        let now = self.now();
        let done = self.chore(move |store| Box::pin(async move { store.operate(flow, verb, now).await })).await?;
        self.0.due.notify_one();
        self.0.outbox.hint();
        Ok(done)
    }
}

/// The writer. Begun twice, the second waits for the first to end.
pub(crate) async fn run<D: Domain>(engine: Engine<D>) {
    let mut queue = engine.0.committer.queue.lock().await;
    let Queue { receiver, waiting } = &mut *queue;
    let limit = engine.0.tuning.batch.max(1);
    let mut fresh = Vec::with_capacity(limit);
    loop {
        if waiting.is_empty() {
            if receiver.recv_many(&mut fresh, limit).await == 0 {
                return;
            }
            waiting.extend(fresh.drain(..));
        }
        // Looks further than one batch, so that many who want the same key do not keep everybody else out.
        while waiting.len() < limit * LOOK_AHEAD
            && let Ok(work) = receiver.try_recv()
        {
            waiting.push_back(work);
        }
        let Taken { batch, chores } = take(waiting, limit);
        engine.0.committer.queued.fetch_sub(batch.len() + chores.len(), Ordering::Relaxed);
        if !batch.is_empty() {
            engine.0.host.pass(Point::Queued);
            metrics::histogram!(crate::telemetry::BATCH).record(batch.len() as f64);
            commit(&engine, batch).await;
        }
        for chore in chores {
            chore(Arc::clone(&engine.0.store)).await;
        }
    }
}

struct Entry<D: Domain> {
    item: Item<D>,
    hand_offs: Vec<HandOff<D>>,
    reply: oneshot::Sender<Result<Verdict, Fault>>,
}

struct Taken<D: Domain> {
    batch: Vec<Entry<D>>,
    chores: Vec<Chore<D>>,
}

/// Takes what may go into one transaction, in order; what touches the same as something before it waits.
fn take<D: Domain>(waiting: &mut VecDeque<Work<D>>, limit: usize) -> Taken<D> {
    let mut touched = Touched::default();
    let mut taken = Taken { batch: Vec::new(), chores: Vec::new() };
    let mut left = VecDeque::new();
    let mut barred = false;
    for work in waiting.drain(..) {
        match work {
            // A chore waits for all before it, and what comes after it does not overtake it: a flush means what it says.
            Work::Chore(chore) => {
                barred = true;
                if left.is_empty() { taken.chores.push(chore) } else { left.push_back(Work::Chore(chore)) }
            }
            Work::Item { item, hand_offs, reply } if !barred && taken.batch.len() < limit => {
                let touches = item.touches();
                let clash = touched.clashes(&touches);
                touched.add(touches);
                if clash {
                    left.push_back(Work::Item { item, hand_offs, reply });
                } else {
                    taken.batch.push(Entry { item: *item, hand_offs, reply });
                }
            }
            work => left.push_back(work),
        }
    }
    *waiting = left;
    taken
}

/// Commits a batch whatever it takes, and tells everybody in it.
fn commit<D: Domain>(engine: &Engine<D>, batch: Vec<Entry<D>>) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let mut entries = Vec::with_capacity(batch.len());
        let mut items = Vec::with_capacity(batch.len());
        for Entry { item, hand_offs, reply } in batch {
            items.push(item);
            entries.push((hand_offs, reply));
        }
        let began = engine.now();
        let mut slept = Duration::ZERO;
        let returns = engine.returns();
        let mut ambiguous = false;
        let mut tries = 0_u32;
        let fault = loop {
            tries += 1;
            match engine.0.store.commit(&items).await {
                Ok(verdicts) => {
                    engine.0.host.pass(Point::Committed);
                    tell(engine, items, entries, verdicts, began);
                    return;
                }
                // The same batch again: whatever of it is durable is found by its event.
                Err(StoreFault::Ambiguous(why)) => {
                    tracing::warn!(why, "the answer to a commit was lost; it is asked for again");
                    metrics::counter!(crate::telemetry::AMBIGUOUS).increment(1);
                    ambiguous = true;
                    for item in &mut items {
                        item.seen = true;
                    }
                }
                Err(StoreFault::Unavailable(_)) if ambiguous => {}
                Err(StoreFault::Conflict(why)) if tries > 20 => break StoreFault::Unavailable(why),
                Err(StoreFault::Conflict(_)) => metrics::counter!(crate::telemetry::CONFLICTS).increment(1),
                Err(StoreFault::Unexpected(why)) if items.len() > 1 => {
                    tracing::warn!(why, items = items.len(), "a batch was refused; its halves are tried");
                    let mut left: Vec<Entry<D>> = items
                        .into_iter()
                        .zip(entries)
                        .map(|(item, (hand_offs, reply))| Entry { item, hand_offs, reply })
                        .collect();
                    let right = left.split_off(left.len() / 2);
                    commit(engine, left).await;
                    commit(engine, right).await;
                    return;
                }
                Err(fault) => break fault,
            }
            // Both, because a clock that is set back must not keep everybody waiting.
            if waited(engine, began).max(slept) >= engine.0.tuning.ambiguity {
                break StoreFault::Unavailable("what became of a commit is not known yet".to_owned());
            }
            let pause = Duration::from_millis(u64::from(tries.min(10)) * 10);
            engine.0.host.sleep(pause).await;
            slept += pause;
        };
        match &fault {
            StoreFault::Unavailable(why) => engine.lost_database(why, returns),
            StoreFault::SyncFailed(why) => engine.0.host.abort(why),
            StoreFault::Unexpected(why) => {
                engine.count_defect();
                tracing::error!(why, "the database refused a step");
            }
            StoreFault::Full(why) => tracing::error!(why, "there is no room for a step"),
            StoreFault::Ambiguous(_) | StoreFault::Conflict(_) => {}
        }
        let fault = Fault::from(fault);
        for (_, reply) in entries {
            let _ = reply.send(Err(fault.clone()));
        }
    })
}

fn waited<D: Domain>(engine: &Engine<D>, began: Timestamp) -> Duration {
    engine.now().since(began)
}

type Replies<D> = Vec<(Vec<HandOff<D>>, oneshot::Sender<Result<Verdict, Fault>>)>;

fn tell<D: Domain>(
    engine: &Engine<D>,
    items: Vec<Item<D>>,
    entries: Replies<D>,
    verdicts: Vec<Verdict>,
    began: Timestamp,
) {
    metrics::histogram!(crate::telemetry::COMMIT_SECONDS).record(waited(engine, began).as_secs_f64());
    let mut told = verdicts.into_iter();
    for (item, (hand_offs, reply)) in items.into_iter().zip(entries) {
        let verdict = told.next().ok_or_else(|| Fault::Defect("the store forgot an item of a batch".to_owned()));
        if verdict == Ok(Verdict::Done) {
            if let Some(event) = &item.event {
                metrics::counter!(
                    crate::telemetry::STEPS,
                    "flow" => event.kind.clone(), "from" => event.from.clone(), "to" => event.to.clone()
                )
                .increment(1);
            }
            for flow in item.change.iter().map(|change| change.row.id) {
                engine.0.waits.moved(flow);
            }
            engine.0.host.pass(Point::HandOff);
            engine.0.outbox.hint_of(&item.outbox);
            for one in hand_offs {
                one.go(engine);
            }
        }
        let _ = reply.send(verdict);
    }
}

#[cfg(test)]
mod tests;
